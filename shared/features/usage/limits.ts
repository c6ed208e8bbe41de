import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { periodOf } from "../../core/periods.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { keyOf } from "../../kv/define.ts";
import type { Mutation } from "../../kv/store.ts";
import { catalogueOf } from "../metrics/catalogue.ts";
import type { Plan } from "../plans/entity.ts";
import { usageRecord } from "./entity.ts";
import { limitedMetrics, limitOf } from "./rules.ts";

/** Sets the limits of this period's usage records to a plan's, without a conflict with concurrent counts. Creates no records. */
export async function limitMutations(work: UnitOfWork, tenantId: string, limits: Plan["limits"]): Promise<Mutation[]> {
  // The plan may limit a metric that the cached catalogue does not have yet.
  const metrics = new Set([...(await catalogueOf(work)).keys(), ...limitedMetrics(limits)]);
  const period = periodOf(work.context.clock.now());
  return [...metrics].map((metric) => ({
    op: "increment",
    key: keyOf(usageRecord, { tenantId, metric, period }),
    add: [],
    merge: { limit: limitOf(limits, metric), updatedAt: work.now() },
  }));
}

/** The first record of a metric in a period. A counter starts at zero, a gauge at its last value, `current`. */
export function firstUsage(tenantId: string, metric: string, period: string, limit: number | null, now: string, current = 0) {
  return {
    id: keyOf(usageRecord, { tenantId, metric, period }),
    tenantId,
    metric,
    period,
    current,
    limit,
    daily: {},
    createdAt: now,
  } satisfies JsonObject;
}
