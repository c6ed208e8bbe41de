import { monthlyRevenue } from "../../core/money.ts";
import type { PlanTerms } from "../plans/entity.ts";
import type { Tenant } from "../tenants/entity.ts";
import type { Subscription } from "./entity.ts";

/**
 * The tenant with the revenue of its subscription: none while that is cancelled. `terms` are what it was sold, if the subscription is
 * live again, else null. An explicit `mrr` stays.
 */
export function withRevenue<T extends Tenant>(tenant: T, subscription: Pick<Subscription, "status"> | null, terms: PlanTerms | null): T {
  if (tenant.mrrSource !== "plan" || !subscription) return tenant;
  const mrr = subscription.status === "cancelled" ? 0 : terms ? monthlyRevenue(terms) : tenant.mrr;
  return mrr === tenant.mrr ? tenant : { ...tenant, mrr };
}

/** Whether a change makes a cancelled subscription live. */
export function isResumed(before: Pick<Subscription, "status"> | null, after: Pick<Subscription, "status">): boolean {
  return before?.status === "cancelled" && after.status !== "cancelled";
}
