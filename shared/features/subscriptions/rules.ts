import { monthlyRevenue } from "../../core/money.ts";
import { addDays, addInterval, type Interval } from "../../core/periods.ts";
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

/** Days of a trial where its plan names none. */
const TRIAL_DAYS = 14;

/** When a trial of the plan that begins now ends. */
export function trialEnd({ trialDays }: Pick<Plan, "trialDays">, now: string): string {
  return addDays(now, trialDays === undefined || trialDays === 0 ? TRIAL_DAYS : trialDays);
}

/** A plan that is nothing but a trial: free, for so many days. */
function isTrialPlan({ price, trialDays }: Plan): boolean {
  return price === 0 && (trialDays ?? 0) > 0;
}

/** On trial, also where a suspension stands over it. */
function isOnTrial({ status, suspendedFrom }: Tenant): boolean {
  return status === "trial" || (status === "suspended" && suspendedFrom === "trial");
}

/** The state and period of a subscription that starts now, in step with its tenant's. */
export function started(tenant: Tenant, interval: Interval, now: string) {
  const isTrial = isOnTrial(tenant);
  const status: Subscription["status"] = tenant.status === "cancelled" ? "cancelled" : isTrial ? "trialing" : "active";
  const trialEndsAt = isTrial ? tenant.trialEndsAt ?? now : now;
  return {
    status,
    currentPeriodStart: now,
    currentPeriodEnd: trialEndsAt > now ? trialEndsAt : addInterval(now, interval),
    ...(status === "cancelled" ? { cancelledAt: now } : {}),
  };
}

/** A cancellation taken back: in its period as it was, trial or not; one whose period is over begins a new one now. */
export function resumed(subscription: Subscription, tenant: Tenant, now: string, interval: Interval): Subscription {
  const { cancelledAt: _, ...rest } = subscription;
  const kept = { ...rest, cancelAtPeriodEnd: false } as Subscription;
  if (subscription.status !== "cancelled") return kept;
  if (subscription.currentPeriodEnd > now) return { ...kept, status: isOnTrial(tenant) ? "trialing" : "active" };
  return { ...kept, status: "active", currentPeriodStart: now, currentPeriodEnd: addInterval(now, interval) };
}

/**
 * What becomes of a tenant's subscription when the tenant moves to a status: a pending tenant's trial is its subscription's too, a
 * trial that goes live goes live too, a cancelled tenant pays nothing more, a suspension leaves it. One that comes back is `resumed`.
 */
export function followed(subscription: Subscription, from: TenantStatus, to: Tenant, now: string): Subscription {
  const { status, trialEndsAt } = to;
  if (status === "cancelled") return ended(subscription, now);
  if (status === "active" && subscription.status === "trialing") return { ...subscription, status: "active" };
  if (from !== "pending" || status !== "trial" || subscription.status !== "active") return subscription;
  const period = trialEndsAt === undefined || trialEndsAt <= now ? {} : { currentPeriodStart: now, currentPeriodEnd: trialEndsAt };
  return { ...subscription, status: "trialing", ...period };
}

/** What a tenant is on a plan it moves to. A trial plan is its one trial. */
export function onPlan(tenant: Tenant, plan: Plan, now: string) {
  return {
    plan: plan.id,
    mrr: monthlyRevenue(plan),
    mrrSource: "plan",
    ...(isTrialPlan(plan) && tenant.trialEndsAt === undefined ? { trialEndsAt: trialEnd(plan, now) } : {}),
  } as const;
}

/** A plan changes only on a live subscription. Throws `subscription_cancelled`. */
export function assertLive(subscription: Subscription): void {
  if (subscription.status !== "cancelled") return;
  throw new InnkeepError("subscription_cancelled", "The subscription is cancelled. Reactivate it before you change its plan.");
}

/** A cancelled tenant keeps the plan it had. Throws `tenant_cancelled`. */
export function assertTenantMoves(tenant: Tenant): void {
  if (tenant.status !== "cancelled") return;
  throw new InnkeepError("tenant_cancelled", `Tenant ${tenant.id} is cancelled. Reactivate the tenant before you change its plan.`);
}

/** No subscription is live under a cancelled tenant. Throws `tenant_cancelled`. */
export function assertTenantTakes(subscription: Subscription, tenant: Tenant): void {
  if (tenant.status !== "cancelled" || subscription.status === "cancelled") return;
  throw new InnkeepError(
    "tenant_cancelled",
    `Tenant ${tenant.id} is cancelled. Reactivate the tenant, which also reactivates its subscription.`,
  );
}

/** A trial is given once. Throws `trial_used`. */
export function assertTrialUnused(tenant: Tenant, plan: Plan): void {
  if (!isTrialPlan(plan) || tenant.trialEndsAt === undefined) return;
  throw new InnkeepError("trial_used", `Tenant ${tenant.id} has used its trial. Choose a plan other than ${plan.id}.`);
}

/**
 * Whether a tenant's own users may move to another plan, as the platform allows it. A trial is the platform's to give: nobody who
 * pays moves to it, as to a cheaper plan, by himself. Throws `plan_change_forbidden`.
 */
export function assertSelfService(allowed: SelfServicePlans, from: Plan, to: Plan): void {
  if (allowed !== "none" && isTrialPlan(to)) {
    throw new InnkeepError("plan_change_forbidden", `You cannot move to the trial plan ${to.id} yourself. Ask the platform's support.`);
  }
  if (allowed === "any" || (allowed === "downgrade" && monthlyRevenue(to) < monthlyRevenue(from))) return;
  throw new InnkeepError(
    "plan_change_forbidden",
    allowed === "none"
      ? "You cannot change the plan yourself. Ask the platform's support."
      : "You can only move to a cheaper plan yourself. Ask the platform's support for this one.",
  );
}

/** A tenant's own users cancel at the period's end; ending at once, and starting again what has ended, is the platform's. */
export function assertOwnCancellation(isAtOnce: boolean): void {
  if (!isAtOnce) return;
  throw new InnkeepError("forbidden", "You can only cancel at the end of the period. Send cancelAtPeriodEnd as true.");
}

/** As for a move, a trial is the platform's to give: nobody starts a second one by himself. Throws `plan_change_forbidden`. */
export function assertOwnReactivation(subscription: Subscription, plan: Plan, allowed: SelfServicePlans, now: string): void {
  const isOver = subscription.currentPeriodEnd <= now;
  if (subscription.status !== "cancelled" || (allowed === "any" && !(isOver && isTrialPlan(plan)))) return;
  throw new InnkeepError("plan_change_forbidden", "Your subscription has ended. Ask the platform's support to start it again.");
}

/** A status set by hand is in step with the rest: what has ended says when, and nothing of it is still due. */
export function inStep(after: Subscription, now: string): Subscription {
  const { cancelledAt = now, ...rest } = after;
  return after.status === "cancelled" ? { ...rest, cancelAtPeriodEnd: false, cancelledAt } : rest as Subscription;
}

export function assertPeriod({ currentPeriodStart, currentPeriodEnd }: Subscription): void {
  if (currentPeriodEnd > currentPeriodStart) return;
  throw errors.validation([{ path: "/currentPeriodEnd", message: "must be after currentPeriodStart", code: "invalid" }]);
}
