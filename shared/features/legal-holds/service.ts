import type { Stored } from "../../core/collection.ts";
import { EntityService } from "../../core/entity-service.ts";
import type { CreateInput } from "../../core/fields.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { legalHold, MAX_TENANTS } from "./entity.ts";
import { tenantsNaming } from "../erasures/persons.ts";
import { countChanges } from "./holds.ts";

type StoredHold = Stored<typeof legalHold>;

/** Legal holds on tenants and persons. */
export class LegalHoldService extends EntityService<typeof legalHold> {
  constructor(work: UnitOfWork) {
    super(work, legalHold);
  }

  /** Places a hold. Throws `validation_failed` unless it names either a tenant that exists or a person. */
  override async create(data: CreateInput<typeof legalHold>, options: ChangeOptions = {}): Promise<StoredHold> {
    const input = this.records.checkCreate(data);
    const { tenantId, userId, email } = data;
    if ((tenantId === undefined) === (userId === undefined && email === undefined)) {
      const message = "must be given, or userId and email of a person instead";
      throw errors.validation([{ path: "/tenantId", message, code: "invalid" }]);
    }
    return await this.records.create(
      "legal-hold.created",
      async () => {
        const named = { ...input, ...await this.#tenantsOf(data) };
        const record = this.records.newRecord({ ...named, status: "active", placedBy: this.work.context.actor.id });
        return { record, changes: await countChanges(this.work, record, 1) };
      },
      options,
      input as JsonObject,
    );
  }

  /** Ends a hold. What it has prevented goes on if no other hold remains. One that was released already is not changed. */
  async release(id: string, options: ChangeOptions = {}): Promise<StoredHold | null> {
    return await this.records.change(id, options, "legal-hold.released", async (before) => {
      if (before.status === "released") return { record: before };
      const released = { status: "released" as const, releasedAt: this.work.now(), releasedBy: this.work.context.actor.id };
      return { record: { ...before, ...released }, changes: await countChanges(this.work, before, -1) };
    });
  }

  /** The tenants that a hold on this person extends to. Throws `validation_failed` for more than {@link MAX_TENANTS}. */
  async #tenantsOf({ userId, email }: CreateInput<typeof legalHold>): Promise<{ readonly tenants?: string[] }> {
    if (userId === undefined && email === undefined) return {};
    const tenants = await tenantsNaming(this.work, { userId, emails: email === undefined ? [] : [email] });
    if (tenants.length <= MAX_TENANTS) return { tenants };
    const message = `is named by records of ${tenants.length} tenants, and a hold extends to at most ${MAX_TENANTS}; ` +
      "place holds on these tenants instead";
    throw errors.validation([{ path: userId === undefined ? "/email" : "/userId", message, code: "too_many" }]);
  }
}
