import { z } from "zod";
import { parseInput, type Stored } from "../../core/collection.ts";
import { EntityService } from "../../core/entity-service.ts";
import { hashOfEmail } from "../../core/personal-data.ts";
import type { Change, EventNote, UnitOfWork } from "../../core/unit-of-work.ts";
import { email } from "../../core/values.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { type ErasedPerson, erasePerson } from "../audit/erasure.ts";
import { tenant } from "../tenants/entity.ts";
import { erasure } from "./entity.ts";
import { type Mention, mentionsOf } from "./persons.ts";
import { ERASED, nextCheck, receiptsOf } from "./receipts.ts";

const MAX_NAMES = 20;
/** Tenants that one erasure is announced to. */
const MAX_TENANTS = 25;

/** Whom an erasure is about. */
export const erasureInput = z.strictObject({
  userId: z.string().min(1).max(128).optional().meta({ description: "The person's id in Supabase Auth." }),
  emails: z.array(email).min(1).max(MAX_NAMES).optional().meta({ description: "Email addresses of the person." }),
  records: z.array(z.string().min(3).max(600).regex(/^[a-z-]+:./, "must be a resource and an id, such as tenant:tn_1")).min(1).max(
    MAX_NAMES,
  )
    .optional().meta({
      description: "Records whose audit entries name the person, but no user id or address, such as `tenant:tn_1`; IP addresses of " +
        "refused requests without a caller, such as `address:203.0.113.7`.",
    }),
}).refine(({ userId, emails, records }) => userId !== undefined || emails !== undefined || records !== undefined, {
  message: "must name the person by userId, emails or records",
  path: ["userId"],
});

type StoredErasure = Stored<typeof erasure>;

/** What the store has of a person. */
export interface PersonPreview {
  /** By kind of records and field. Those of audit entries are encrypted under the `personal-key` records. */
  readonly records: readonly Mention[];
  /** The tenants that the records belong to. */
  readonly tenants: readonly string[];
}

/** Finds what the store has of a person, and erases what the audit log holds of it. The chains stay valid. */
export class ErasureService extends EntityService<typeof erasure> {
  constructor(work: UnitOfWork) {
    super(work, erasure);
  }

  /** With what each webhook has answered by now. */
  override async get(id: string): Promise<StoredErasure | null> {
    const found = await super.get(id);
    return found?.status === "waiting" ? { ...found, receipts: await receiptsOf(this.work, found) } : found;
  }

  /**
   * The records that name the person, with their keys, and nothing is written. They are found by the fields that are declared as ids of
   * users or addresses of persons. Throws `validation_failed`, and `forbidden` for a tenant's own caller.
   */
  async preview(person: z.input<typeof erasureInput>): Promise<PersonPreview> {
    const { records, tenants } = await mentionsOf(this.work, this.#checked(person));
    return { records, tenants };
  }

  /**
   * Deletes the keys of the person's data in every audit chain, and announces it by `subject.erased` to the platform and to each tenant
   * that has records which name the person. It cannot be undone. Records such as a tenant's `owner` are not changed. Throws
   * `validation_failed`, `legal_hold`, and `forbidden` for a tenant's own caller.
   */
  async erase(person: z.input<typeof erasureInput>): Promise<StoredErasure> {
    const input = this.#checked(person);
    const { tenants, isComplete } = await mentionsOf(this.work, input);
    const live = await this.#liveOf(tenants);
    const named = input.userId === undefined ? {} : { userId: input.userId };
    const emailHashes = await Promise.all((input.emails ?? []).map(hashOfEmail));
    const begun = { isComplete: isComplete && live.length <= MAX_TENANTS, ...named, emailHashes };
    const name = input.userId ?? input.records?.[0] ?? "a person without a user id";
    const erased = await erasePerson(this.work, input, name, async (keys, known) => {
      const before = known === null ? null : await this.records.get(known);
      if (before) return { id: before.id, changes: [{ entity: erasure, before, after: { ...before, keys: before.keys + keys } }] };
      const announced = [undefined, ...live.slice(0, MAX_TENANTS)].map((tenantId) => ({
        id: this.work.newId("evt"),
        ...(tenantId === undefined ? {} : { tenantId }),
      }));
      const record = this.records.newRecord({
        ...begun,
        keys,
        events: announced,
        status: "waiting",
        receipts: [],
        requestedBy: this.work.context.actor.id,
        checkAt: nextCheck(this.work.context.clock.now()),
      });
      const { id } = record;
      const change: Change = { entity: erasure, before: null, after: record };
      const events = announced.map((event): EventNote => ({
        ...event,
        type: ERASED,
        subject: id,
        data: { erasureId: id, ...named, emailHashes, ...(event.tenantId === undefined ? {} : { tenantId: event.tenantId }) },
      }));
      return { id, changes: [change], events };
    });
    const made = await this.get(erased.id ?? "");
    if (!made) throw new InnkeepError("internal", "The record of the erasure is missing.");
    return made;
  }

  /** The tenants that exist: audit entries name others as well. */
  async #liveOf(tenants: readonly string[]): Promise<string[]> {
    const found = await this.work.store.mget(tenants.map((id) => `${tenant.name}:${id}`));
    return tenants.filter((_, i) => found[i]);
  }

  #checked(person: z.input<typeof erasureInput>): ErasedPerson {
    if (this.work.context.tenantId !== null) throw new InnkeepError("forbidden", "Only the platform erases a person's data.");
    return parseInput(erasureInput, person);
  }
}
