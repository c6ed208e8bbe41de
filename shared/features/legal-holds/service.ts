import type { Stored } from "../../core/collection.ts";
import { EntityService } from "../../core/entity-service.ts";
import type { CreateInput } from "../../core/fields.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { legalHold } from "./entity.ts";
import { countChange } from "./holds.ts";

type StoredHold = Stored<typeof legalHold>;

/** Legal holds on tenants and persons. */
export class LegalHoldService extends EntityService<typeof legalHold> {
  constructor(work: UnitOfWork) {
    super(work, legalHold);
  }

  /** Places a hold. Throws `validation_failed` unless it names either a tenant that exists or a person. */
  override async create(data: CreateInput<typeof legalHold>, options: ChangeOptions = {}): Promise<StoredHold> {
    const input = this.records.checkCreate(data);
    if ((input["tenantId"] === undefined) === (input["userId"] === undefined)) {
      throw errors.validation([{ path: "/tenantId", message: "or userId must be given, and not both", code: "invalid" }]);
    }
    return await this.records.create(
      "legal-hold.created",
      async () => {
        const record = this.records.newRecord({ ...input, status: "active", placedBy: this.work.context.actor.id });
        return { record, changes: await countChange(this.work, record, 1) };
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
      return { record: { ...before, ...released }, changes: await countChange(this.work, before, -1) };
    });
  }
}
