import { type DeclaredAction, declaredActions } from "../../core/actions.ts";
import type { Stored } from "../../core/collection.ts";
import { EntityService } from "../../core/entity-service.ts";
import type { CreateInput, UpdateInput } from "../../core/fields.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { schemaFault } from "./data-schema.ts";
import { auditAction } from "./entity.ts";

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
