import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { periodOf } from "../../core/periods.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { keyOf } from "../../kv/define.ts";
import type { Mutation } from "../../kv/store.ts";
import { catalogueOf } from "../metrics/catalogue.ts";
import type { Plan } from "../plans/entity.ts";
import { usageRecord } from "./entity.ts";
import { limitedMetrics, limitOf } from "./rules.ts";

/**
 * Moves this period's usage limits to a plan's, without touching what is counted at the same moment. What has no record yet
 * begins with them.
 */
export async function limitMutations(work: UnitOfWork, tenantId: string, limits: Plan["limits"]): Promise<Mutation[]> {
  // What the catalogue of this process may not know yet, the plan names.
  const metrics = new Set([...(await catalogueOf(work)).keys(), ...limitedMetrics(limits)]);
  const period = periodOf(work.context.clock.now());
  return [...metrics].map((metric) => ({
    op: "increment",
    key: keyOf(usageRecord, { tenantId, metric, period }),
    add: [],
    merge: { limit: limitOf(limits, metric), updatedAt: work.now() },
  }));
}

/** A metric's record at the beginning of its period: a counter's is empty, a gauge's has what was there before. */
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
