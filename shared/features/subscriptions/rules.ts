import { monthlyRevenue } from "../../core/money.ts";
import { addInterval, type Interval } from "../../core/periods.ts";
import type { SelfServicePlans } from "../../core/platform.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { Plan } from "../plans/entity.ts";
import type { Tenant, TenantStatus } from "../tenants/entity.ts";
import type { Subscription } from "./entity.ts";

/** Ended at once; one that has ended stays as it is. */
export function ended(subscription: Subscription, now: string): Subscription {
  if (subscription.status === "cancelled") return subscription;
  return { ...subscription, status: "cancelled", cancelAtPeriodEnd: false, cancelledAt: now };
}

/** A cancellation taken back; one whose period is over too begins a new one now. */
export function resumed(subscription: Subscription, now: string, interval: Interval): Subscription {
  const { cancelledAt: _, ...rest } = subscription;
  const kept = { ...rest, cancelAtPeriodEnd: false } as Subscription;
  if (subscription.status !== "cancelled") return kept;
  const over = subscription.currentPeriodEnd <= now;
  return {
    ...kept,
    status: "active",
    ...(over ? { currentPeriodStart: now, currentPeriodEnd: addInterval(now, interval) } : {}),
  };
}

/**
 * What becomes of a tenant's subscription when the tenant moves to a status: a trial that goes live goes live
 * too, a cancelled tenant pays nothing more, a suspension leaves it. A tenant that comes back is `resumed`.
 */
export function followed(subscription: Subscription, to: TenantStatus, now: string): Subscription {
  if (to === "cancelled") return ended(subscription, now);
  return to === "active" && subscription.status === "trialing" ? { ...subscription, status: "active" } : subscription;
}

/** A plan changes only on a live subscription. Throws `subscription_cancelled`. */
export function assertLive(subscription: Subscription): void {
  if (subscription.status !== "cancelled") return;
  throw new InnkeepError("subscription_cancelled", "The subscription is cancelled. Reactivate it before you change its plan.");
}

/** No subscription is live under a cancelled tenant. Throws `tenant_cancelled`. */
export function assertTenantTakes(subscription: Subscription, tenant: Tenant): void {
  if (tenant.status !== "cancelled" || subscription.status === "cancelled") return;
  throw new InnkeepError(
    "tenant_cancelled",
    `Tenant ${tenant.id} is cancelled. Reactivate the tenant; its subscription comes back with it.`,
  );
}

/** A trial is given once. Throws `trial_used`. */
export function assertTrialUnused(tenant: Tenant, plan: Plan): void {
  const isTrialPlan = plan.price === 0 && (plan.trialDays ?? 0) > 0;
  if (!isTrialPlan || tenant.trialEndsAt === undefined) return;
  throw new InnkeepError("trial_used", `Tenant ${tenant.id} has had its trial. Choose another plan than ${plan.id}.`);
}

/** Whether a tenant's own users may move to another plan, as the platform allows it. Throws `plan_change_forbidden`. */
export function assertSelfService(allowed: SelfServicePlans, from: Plan, to: Plan): void {
  if (allowed === "any" || (allowed === "downgrade" && monthlyRevenue(to) < monthlyRevenue(from))) return;
  throw new InnkeepError(
    "plan_change_forbidden",
    allowed === "none"
      ? "You cannot change the plan yourself. Ask the platform's support."
      : "You can move to a cheaper plan only. Ask the platform's support for this one.",
  );
}

/** A tenant's own users cancel at the period's end; ending at once, and starting again what has ended, is the platform's. */
export function assertOwnCancellation(isAtOnce: boolean): void {
  if (!isAtOnce) return;
  throw new InnkeepError("forbidden", "You can cancel at the end of the period only. Send cancelAtPeriodEnd as true.");
}

export function assertOwnReactivation(subscription: Subscription, allowed: SelfServicePlans): void {
  if (subscription.status !== "cancelled" || allowed === "any") return;
  throw new InnkeepError("plan_change_forbidden", "Your subscription has ended. Ask the platform's support to start it again.");
}

/** A status set by hand keeps `cancelledAt` in step with it. */
export function withTimes(after: Subscription, now: string): Subscription {
  const { cancelledAt, ...rest } = after;
  return after.status === "cancelled" ? { ...rest, cancelledAt: cancelledAt ?? now } : rest as Subscription;
}

export function assertPeriod({ currentPeriodStart, currentPeriodEnd }: Subscription): void {
  if (currentPeriodEnd > currentPeriodStart) return;
  throw errors.validation([{ path: "/currentPeriodEnd", message: "must be after currentPeriodStart", code: "invalid" }]);
}
