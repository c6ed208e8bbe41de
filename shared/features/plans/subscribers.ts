import type { Stored } from "../../core/collection.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import type { Check } from "../../kv/store.ts";
import { plan as planEntity } from "./entity.ts";

export type StoredPlan = Stored<typeof planEntity>;

/** A plan somebody has already, deactivated or not. Throws `validation_failed` at `path` when there is none. */
export async function findPlan(work: UnitOfWork, planId: string, path: string): Promise<StoredPlan> {
  const plan = await new Records(planEntity, work).get(planId);
  if (!plan) throw errors.validation([{ path, message: `names no plan: ${planId}`, code: "unknown_plan" }]);
  return plan;
}

/**
 * A plan that takes subscribers. Throws `validation_failed` at `path` when there is none or its price is in another currency than the
 * platform's, which no sum may mix, and `plan_inactive` when it is off.
 */
export async function loadPlan(work: UnitOfWork, planId: string, path: string): Promise<StoredPlan> {
  const plan = await findPlan(work, planId, path);
  const { currency } = work.platform;
  if (plan.currency !== currency) {
    const message = `must be a plan in the platform's currency, ${currency}; ${plan.id} is in ${plan.currency}`;
    throw errors.validation([{ path, message, code: "other_currency" }]);
  }
  if (!plan.active) throw new InnkeepError("plan_inactive", `Plan ${planId} is deactivated. Choose another plan.`);
  return plan;
}

/** A subscriber rests on the plan as it was read: were it deactivated or deleted meanwhile, the commit fails. */
export function planCheck(plan: StoredPlan): Check {
  return { key: keyOf(planEntity, { id: plan.id }), version: plan.version };
}
