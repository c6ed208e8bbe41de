import { Collection } from "../../core/collection.ts";
import { periodEnd } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import { plan as planEntity } from "../plans/entity.ts";
import { tenant as tenantEntity } from "../tenants/entity.ts";
import { METRICS, type UsageRecord, usageRecord } from "./entity.ts";
import { emptyUsage } from "./limits.ts";
import { limitOf, usagePercentage } from "./rules.ts";

/** A usage record as callers see it: with its percentage, and when the next period begins. */
export type Usage = UsageRecord & {
  /** 0–100, rounded; 100 when over, 0 when unlimited. */
  readonly percentage: number;
  /** First instant of the next period. */
  readonly resetsAt: string;
  /** Null: nothing was ever recorded for it. */
  readonly version: string | null;
};

export function viewOf(record: UsageRecord, version: string | null): Usage {
  return { ...record, percentage: usagePercentage(record.current, record.limit), resetsAt: periodEnd(record.period), version };
}

/** Every metric of one period, with the tenant as it was at that instant: one read where all are recorded. Throws `not_found`. */
export async function usageOf(work: UnitOfWork, tenantId: string, period: string) {
  const records = new Collection(usageRecord, work.store);
  const keys = METRICS.map((metric) => keyOf(usageRecord, { tenantId, metric, period }));
  const [owner, ...found] = await work.store.mget([keyOf(tenantEntity, { id: tenantId }), ...keys]);
  if (!owner) throw errors.notFound("tenant", tenantId);
  const tenant = new Collection(tenantEntity, work.store).read(owner);
  const isWhole = found.every((entry) => entry !== null);
  const limits = isWhole ? {} : (await new Collection(planEntity, work.store).get(tenant.plan))?.limits ?? {};
  const usage = METRICS.map((metric, i): Usage => {
    const entry = found[i];
    return entry
      ? viewOf(records.read(entry), entry.version)
      : viewOf(emptyUsage(tenantId, metric, period, limitOf(limits, metric), work.now()), null);
  });
  return { tenant, usage };
}
