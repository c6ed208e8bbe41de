import { Collection, type Stored } from "../../core/collection.ts";
import { TenantReadService } from "../../core/entity-service.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { keyOf } from "../../kv/define.ts";
import { usageRecord } from "../usage/entity.ts";
import { alert } from "./entity.ts";
import { eventDataOf, resolved } from "./rules.ts";

export type StoredAlert = Stored<typeof alert>;

/** The usage alerts of a tenant. Counts and the job `usage` trigger them, and resolve them when usage falls or the month ends. */
export class AlertService extends TenantReadService<typeof alert> {
  constructor(work: UnitOfWork) {
    super(work, alert);
  }

  /** Resolves an open alert. It is triggered again only after usage was below the threshold. Null if there is no such alert. */
  async resolve(tenantId: string, id: string, options: ChangeOptions = {}): Promise<StoredAlert | null> {
    return await this.records.change(this.keyOf(tenantId, id), options, "usage.alert.resolved", async (before) => {
      if (!before.triggered) return { record: before };
      const entry = await this.work.store.get(keyOf(usageRecord, before));
      const level = entry ? new Collection(usageRecord, this.work.store).read(entry) : { current: 0, limit: null };
      return { record: resolved(before, "caller", this.work.now()), eventData: eventDataOf(before, level) };
    });
  }
}
