import { METRICS, usageRecord } from "../usage/entity.ts";
import { plan as planEntity } from "./entity.ts";
import type { Plan } from "./entity.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { Collection } from "../../core/collection.ts";
import type { Stored } from "../../core/collection.ts";
import { keyOf } from "../../kv/define.ts";
import type { Check, Mutation, Store } from "../../kv/store.ts";
import { limitOf } from "../usage/rules.ts";

export type StoredPlan = Stored<typeof planEntity>;

/** A plan somebody has already, deactivated or not. Throws `validation_failed` at `path` when there is none. */
export async function findPlan(store: Store, planId: string, path: string): Promise<StoredPlan> {
  const plan = await new Collection(planEntity, store).get(planId);
  if (!plan) throw errors.validation([{ path, message: `there is no plan ${planId}`, code: "unknown_plan" }]);
  return plan;
}

/** A plan that takes subscribers. Throws `validation_failed` at `path` when there is none, `plan_inactive` when it is off. */
export async function loadPlan(store: Store, planId: string, path: string): Promise<StoredPlan> {
  const plan = await findPlan(store, planId, path);
  if (!plan.active) throw new InnkeepError("plan_inactive", `plan ${planId} is deactivated`);
  return plan;
}

/** A subscriber rests on the plan as it was read: were it deactivated or deleted meanwhile, the commit fails. */
export function planCheck(plan: StoredPlan): Check {
  return { key: keyOf(planEntity, { id: plan.id }), version: plan.version };
}

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
