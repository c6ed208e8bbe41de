import type { Stored } from "../../core/collection.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import type { Check } from "../../kv/store.ts";
import { plan as planEntity } from "./entity.ts";

export type StoredPlan = Stored<typeof planEntity>;

/** A plan, active or deactivated. Null if it does not exist. */
export async function findPlan(work: UnitOfWork, planId: string): Promise<StoredPlan | null> {
  return await new Records(planEntity, work).get(planId);
}

/** The plan that a tenant has, active or deactivated. Throws `not_found` if it does not exist, which only an import can cause. */
export async function currentPlan(work: UnitOfWork, planId: string): Promise<StoredPlan> {
  const plan = await findPlan(work, planId);
  if (!plan) {
    throw new InnkeepError("not_found", `The tenant's current plan ${planId} was not found. A platform admin must create it again.`);
  }
  return plan;
}

/**
 * A plan that new subscribers can choose. Throws `validation_failed` at `path` if it does not exist or is not priced in the
 * platform's currency (sums never mix currencies), and `plan_inactive` if it is deactivated.
 */
export async function loadPlan(work: UnitOfWork, planId: string, path: string): Promise<StoredPlan> {
  const plan = await findPlan(work, planId);
  if (!plan) throw errors.validation([{ path, message: `must be an existing plan, and ${planId} is not`, code: "unknown_plan" }]);
  const { currency } = work.platform;
  if (plan.currency !== currency) {
    const message = `must be a plan in the platform's currency, ${currency}; ${plan.id} is in ${plan.currency}`;
    throw errors.validation([{ path, message, code: "other_currency" }]);
  }
  if (!plan.active) throw new InnkeepError("plan_inactive", `Plan ${planId} is deactivated. Choose another plan.`);
  return plan;
}

/** Checks the version of the plan in the commit, which fails if the plan was deactivated or deleted meanwhile. */
export function planCheck(plan: StoredPlan): Check {
  return { key: keyOf(planEntity, { id: plan.id }), version: plan.version };
}
