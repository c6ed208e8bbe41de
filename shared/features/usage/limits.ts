import type { JsonObject } from "../../kernel/json.ts";
import { keyOf } from "../../kv/define.ts";
import type { Mutation } from "../../kv/store.ts";
import type { Plan } from "../plans/entity.ts";
import { METRICS, usageRecord } from "./entity.ts";
import { limitOf } from "./rules.ts";

/** Moves this period's usage limits to a plan's, without touching what is counted at the same moment. */
export function limitMutations(tenantId: string, limits: Plan["limits"], period: string, now: string): Mutation[] {
  return METRICS.map((metric) => ({
    op: "increment",
    key: keyOf(usageRecord, { tenantId, metric, period }),
    add: [],
    merge: { limit: limitOf(limits, metric), updatedAt: now },
  }));
}

/** A metric's record at the beginning of its period. */
export function emptyUsage(tenantId: string, metric: (typeof METRICS)[number], period: string, limit: number | null, now: string) {
  return {
    id: keyOf(usageRecord, { tenantId, metric, period }),
    tenantId,
    metric,
    period,
    current: 0,
    limit,
    daily: {},
    createdAt: now,
  } satisfies JsonObject;
}
