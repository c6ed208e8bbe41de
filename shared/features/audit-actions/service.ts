import { type DeclaredAction, declaredActions } from "../../core/actions.ts";
import type { Stored } from "../../core/collection.ts";
import { EntityService } from "../../core/entity-service.ts";
import type { CreateInput, UpdateInput } from "../../core/fields.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, type FieldError, InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { schemaFault } from "./data-schema.ts";
import { auditAction } from "./entity.ts";
import { type Outcome, writeReported } from "./intake.ts";
import type { Batch, Item } from "./reported.ts";

type StoredAction = Stored<typeof auditAction>;

/** The actions of audit entries: those of the program, and the records that declare others. */
export class AuditActionService extends EntityService<typeof auditAction> {
  constructor(work: UnitOfWork) {
    super(work, auditAction);
  }

  /** The actions of the program. */
  async declared(): Promise<{ readonly data: DeclaredAction[] }> {
    const { actions, registry } = this.work.platform;
    return { data: declaredActions(actions, await registry()) };
  }

  /** Throws `validation_failed`, `already_exists`. */
  override async create(data: CreateInput<typeof auditAction>, options: ChangeOptions = {}): Promise<StoredAction> {
    assertSchema(data.dataSchema);
    return await super.create(data, options);
  }

  /** A change of the schema is a new version of the action. Throws `validation_failed`. */
  override async update(
    id: string,
    updates: UpdateInput<typeof auditAction>,
    options: ChangeOptions = {},
  ): Promise<StoredAction | null> {
    return await this.records.patch(id, updates, options, (after, before) => {
      if (JSON.stringify(after.dataSchema) === JSON.stringify(before.dataSchema)) return { record: after };
      assertSchema(after.dataSchema);
      return { record: { ...after, actionVersion: before.actionVersion + 1 } };
    });
  }
}

function assertSchema(dataSchema: unknown): void {
  const fault = dataSchema === undefined ? null : schemaFault(dataSchema as JsonObject, "/dataSchema");
  if (fault) throw errors.validation([fault]);
}

/** The result of one reported entry. */
export type ReportResult = { readonly id: string | null; readonly source: string | null } & Outcome;

/** Entries that other services report. Each is written once. */
export class AuditReportService {
  constructor(private readonly work: UnitOfWork) {}

  /**
   * Writes the entries and returns their results in order. A batch never fails for one of its items. A single entry throws
   * `validation_failed`, `not_found` or `idempotency_mismatch`.
   */
  async report({ single, items }: Batch): Promise<ReportResult[]> {
    const outcomes = single ? await this.#one(items) : await this.#batch(items);
    return items.map((item, i) => {
      const { id, source } = "entry" in item ? item.entry : item;
      return { id, source, ...outcomes[i] as Outcome };
    });
  }

  /** The commit of the entry records the idempotency key too. */
  async #one(items: readonly Item[]): Promise<readonly Outcome[]> {
    const outcomes = await writeReported(this.work, items);
    const [first] = outcomes;
    if (first?.status === "rejected") throw errorOf(first.error, items[0]);
    return outcomes;
  }

  async #batch(items: readonly Item[]): Promise<readonly Outcome[]> {
    const decide = async () => ({ done: { outcomes: await writeReported(this.work, items) }, resultOf: this.work.context.tenantId });
    return (await this.work.transact<{ readonly outcomes: readonly Outcome[] }>(decide)).result.outcomes;
  }
}

function errorOf(error: FieldError, item: Item | undefined): Error {
  if (error.code === "idempotency_mismatch") return new InnkeepError("idempotency_mismatch", `The id ${error.message}.`);
  if (error.code === "not_found" && item && "entry" in item) return errors.otherTenant(item.entry.tenantId ?? "");
  return errors.validation([error]);
}
