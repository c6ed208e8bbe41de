import { monthlyRevenue } from "../../core/money.ts";
import { addDays, addInterval, dayOfMonth, type Recurrence } from "../../core/periods.ts";
import type { SelfServicePlans } from "../../core/platform.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { Plan, PlanTerms } from "../plans/entity.ts";
import type { PlatformSettings } from "../settings/entity.ts";
import type { Tenant, TenantStatus } from "../tenants/entity.ts";
import { isOverdue, nextDunning } from "./dunning.ts";
import type { Subscription } from "./entity.ts";

/** The subscription cancelled at `now`. A cancelled one is unchanged. */
export function ended(subscription: Subscription, now: string): Subscription {
  if (subscription.status === "cancelled") return subscription;
  return { ...subscription, status: "cancelled", cancelAtPeriodEnd: false, cancelledAt: now };
}

/** The platform's setting for trials of plans without `trialDays`. */
export type TrialLength = Pick<PlatformSettings, "trialDurationDays">;

/** The end of a trial of the plan that begins at `now`. */
export function trialEnd({ trialDays }: Pick<PlanTerms, "trialDays">, { trialDurationDays }: TrialLength, now: string): string {
  return addDays(now, trialDays === undefined || trialDays === 0 ? trialDurationDays : trialDays);
}

/** Whether the plan is only a trial: free, with `trialDays`. */
export function isTrialPlan({ price, trialDays }: PlanTerms): boolean {
  return price === 0 && (trialDays ?? 0) > 0;
}

/** Whether the tenant is on trial, or was when it was suspended. */
function isOnTrial({ status, suspendedFrom }: Tenant): boolean {
  return status === "trial" || (status === "suspended" && suspendedFrom === "trial");
}

/** The status and period of a subscription that starts at `now`, according to its tenant's status. */
export function started(tenant: Tenant, terms: Recurrence, now: string) {
  const isTrial = isOnTrial(tenant);
  const status: Subscription["status"] = tenant.status === "cancelled" ? "cancelled" : isTrial ? "trialing" : "active";
  const trialEndsAt = isTrial ? tenant.trialEndsAt ?? now : now;
  // A pending tenant pays from its activation on.
  return {
    status,
    ...(isTrial || tenant.status === "pending" ? trialPeriod(trialEndsAt, terms, now) : firstPeriod(terms, now)),
    ...(status === "cancelled" ? { cancelledAt: now } : {}),
  };
}

/** A trial has no anchor: the first paid period sets it. */
function trialPeriod(trialEndsAt: string, terms: Recurrence, now: string) {
  return { currentPeriodStart: now, currentPeriodEnd: trialEndsAt > now ? trialEndsAt : addInterval(now, terms) };
}

type Patch = Readonly<Record<string, unknown>>;

/** Whether a patch begins a new period. Otherwise it can only extend or shorten the present one. */
export function setsPeriod({ currentPeriodStart }: Subscription, { currentPeriodStart: start }: Patch): boolean {
  return start !== undefined && start !== currentPeriodStart;
}

/**
 * The subscription after a patch. If it sets a paid period, the end is the anchor of the later ones. A period that is extended or
 * shortened stays invoiced, or free. Throws `validation_failed` for an `invoicedUntil` after the end of the period.
 */
export function anchored(before: Subscription, after: Subscription, patch: Patch): Subscription {
  const isSet = patch["currentPeriodStart"] !== undefined || patch["currentPeriodEnd"] !== undefined;
  const ends = isSet && !setsPeriod(before, patch) ? movedEnds(before, after, patch) : {};
  assertInvoicedUntil({ ...after, ...ends }, patch);
  return isSet && after.status !== "trialing"
    ? { ...after, ...ends, anchorDay: dayOfMonth(after.currentPeriodEnd) }
    : { ...after, ...ends };
}

/** Whether a patch makes a cancelled subscription live after its period: a new one begins, and the time between is not charged. */
export function isPutBack({ status: from, currentPeriodEnd }: Subscription, patch: Patch, now: string): boolean {
  const { status, currentPeriodStart, currentPeriodEnd: end } = patch;
  const isLive = status === "active" || status === "past_due";
  return from === "cancelled" && isLive && currentPeriodStart === undefined && end === undefined && currentPeriodEnd <= now;
}

/** The ends of what is invoiced and free, which follow the end of the present period. */
function movedEnds({ invoicedUntil = "", freeUntil = "", currentPeriodEnd: end }: Subscription, after: Subscription, patch: Patch) {
  const { currentPeriodEnd } = after;
  return {
    ...(invoicedUntil >= end && patch["invoicedUntil"] === undefined ? { invoicedUntil: currentPeriodEnd } : {}),
    ...(freeUntil >= end ? { freeUntil: currentPeriodEnd } : {}),
  };
}

function assertInvoicedUntil({ currentPeriodEnd, invoicedUntil = "" }: Subscription, patch: Patch): void {
  if (typeof patch["invoicedUntil"] !== "string" || invoicedUntil <= currentPeriodEnd) return;
  const message = `must not be after currentPeriodEnd, ${currentPeriodEnd}, when the next invoice is issued; set both to bill later`;
  throw errors.validation([{ path: "/invoicedUntil", message, code: "invalid" }]);
}

/** The first paid period, which anchors the later ones. */
export function firstPeriod(terms: Recurrence, start: string) {
  const anchorDay = dayOfMonth(start);
  return { currentPeriodStart: start, currentPeriodEnd: addInterval(start, terms, anchorDay), anchorDay };
}

/** The subscription with a paid period that begins at `start`, whatever was paid or free before. */
export function newPeriod({ freeUntil: _, periodPrice: _price, ...subscription }: Subscription, terms: Recurrence, start: string) {
  return { ...subscription, ...firstPeriod(terms, start), invoicedUntil: start } as Subscription;
}

/**
 * Whether the present period is free only because its tenant was pending or suspended at its start, and the tenant is live now. Nobody
 * gets a free period by paying late: a paid one begins when the tenant is live again.
 */
export function isFreed({ status, anchorDay, freeUntil = "", currentPeriodEnd }: Subscription, tenant: Pick<Tenant, "status">): boolean {
  const isLive = tenant.status === "active" || tenant.status === "trial";
  return isLive && (status === "active" || status === "past_due") && anchorDay !== undefined && freeUntil >= currentPeriodEnd;
}

/** Whether it was activated as a cancelled one, so that nothing is billed yet. The rest of a trial stays free. */
function isUnbilled({ anchorDay }: Subscription, { status, trialEndsAt = "" }: Tenant, now: string): boolean {
  return status === "active" && anchorDay === undefined && trialEndsAt <= now;
}

/**
 * The subscription with its cancellation reversed. It keeps its period and trial; if the period is over, or was free because of a
 * suspension, a new one begins at `now`.
 */
export function resumed(subscription: Subscription, tenant: Tenant, now: string, terms: Recurrence): Subscription {
  const { cancelledAt: _, ...rest } = subscription;
  const kept = { ...rest, cancelAtPeriodEnd: false } as Subscription;
  if (subscription.status !== "cancelled") return kept;
  const status = isOverdue(kept) ? "past_due" : "active";
  const live: Subscription = { ...kept, status };
  if (subscription.currentPeriodEnd <= now || isFreed(live, tenant) || isUnbilled(live, tenant, now)) return newPeriod(live, terms, now);
  return isOnTrial(tenant) ? { ...kept, status: "trialing" } : live;
}

/**
 * The subscription after its tenant changed its status. A pending tenant's trial becomes its subscription's, its activation starts the
 * first paid period by `terms`, activation ends a trial, cancellation cancels it, and a suspension does not change it. After a
 * reactivation, see {@link resumed}.
 */
export function followed(
  subscription: Subscription,
  from: TenantStatus,
  to: Tenant,
  now: string,
  terms: Recurrence | null = null,
): Subscription {
  const { status, trialEndsAt } = to;
  if (status === "cancelled") return ended(subscription, now);
  const isFirst = subscription.status === "active" && subscription.anchorDay === undefined;
  if (from === "pending" && status === "active" && isFirst && terms) return newPeriod(subscription, terms, now);
  if (status === "active" && subscription.status === "trialing") return { ...subscription, status: "active" };
  if (from !== "pending" || status !== "trial" || subscription.status !== "active") return subscription;
  const period = trialEndsAt === undefined || trialEndsAt <= now ? {} : { currentPeriodStart: now, currentPeriodEnd: trialEndsAt };
  return { ...subscription, status: "trialing", ...period };
}

/** The subscription after its tenant's trial was extended or shortened. One that is not in its trial stays as it is. */
export function withTrialEnd(subscription: Subscription, { trialEndsAt }: Tenant): Subscription {
  const isMoved = subscription.status === "trialing" && trialEndsAt !== undefined && trialEndsAt > subscription.currentPeriodStart;
  return isMoved ? { ...subscription, currentPeriodEnd: trialEndsAt } : subscription;
}

/** The fields of a tenant that follow from a move to the plan. A move to a trial plan starts the tenant's only trial. */
export function onPlan(tenant: Tenant, plan: Plan, settings: TrialLength, now: string) {
  return {
    plan: plan.id,
    mrr: monthlyRevenue(plan),
    mrrSource: "plan",
    ...(isTrialPlan(plan) && tenant.trialEndsAt === undefined ? { trialEndsAt: trialEnd(plan, settings, now) } : {}),
  } as const;
}

/** A cancelled subscription cannot change its plan. Throws `subscription_cancelled`. */
export function assertLive(subscription: Subscription): void {
  if (subscription.status !== "cancelled") return;
  throw new InnkeepError("subscription_cancelled", "The subscription is cancelled. Reactivate it before you change its plan.");
}

/** A cancelled tenant cannot change its plan. Throws `tenant_cancelled`. */
export function assertTenantCanChangePlan(tenant: Tenant): void {
  if (tenant.status !== "cancelled") return;
  throw new InnkeepError("tenant_cancelled", `Tenant ${tenant.id} is cancelled. Reactivate the tenant before you change its plan.`);
}

/** A cancelled tenant cannot have a live subscription. Throws `tenant_cancelled`. */
export function assertTenantNotCancelled(subscription: Subscription, tenant: Tenant): void {
  if (tenant.status !== "cancelled" || subscription.status === "cancelled") return;
  throw new InnkeepError(
    "tenant_cancelled",
    `Tenant ${tenant.id} is cancelled. Reactivate the tenant, which also reactivates its subscription.`,
  );
}

/** A tenant has only one trial. Throws `trial_used`. */
export function assertTrialUnused(tenant: Tenant, plan: Plan): void {
  if (!isTrialPlan(plan) || tenant.trialEndsAt === undefined) return;
  throw new InnkeepError("trial_used", `Tenant ${tenant.id} has used its trial. Choose a plan other than ${plan.id}.`);
}

/**
 * Checks a plan change by a tenant's own user. A trial plan is not a cheaper plan: only the platform moves a tenant to it.
 * `from` is what the tenant was sold; null if it does not exist, so that its price is unknown. Throws `plan_change_forbidden`.
 */
export function assertSelfService(allowed: SelfServicePlans, from: PlanTerms | null, to: Plan): void {
  if (allowed !== "none" && isTrialPlan(to)) {
    throw new InnkeepError("plan_change_forbidden", `You cannot move to the trial plan ${to.id} yourself. Ask the platform's support.`);
  }
  if (allowed === "any" || (allowed === "downgrade" && from && monthlyRevenue(to) < monthlyRevenue(from))) return;
  throw new InnkeepError(
    "plan_change_forbidden",
    allowed === "none"
      ? "You cannot change the plan yourself. Ask the platform's support."
      : "You can only move to a cheaper plan yourself. Ask the platform's support for this one.",
  );
}

/** A tenant's own users can cancel only at the end of the period. Throws `forbidden`. */
export function assertOwnCancellation(isAtOnce: boolean): void {
  if (!isAtOnce) return;
  throw new InnkeepError("forbidden", "You can only cancel at the end of the period. Send cancelAtPeriodEnd as true.");
}

/**
 * Checks a reactivation by a tenant's own user. A subscription that is cancelled needs the setting `any`, and one to a trial plan
 * must not be over, because that would be a second trial. Throws `plan_change_forbidden`.
 */
export function assertOwnReactivation(subscription: Subscription, terms: PlanTerms, allowed: SelfServicePlans, now: string): void {
  const isOver = subscription.currentPeriodEnd <= now;
  if (subscription.status !== "cancelled" || (allowed === "any" && !(isOver && isTrialPlan(terms)))) return;
  throw new InnkeepError("plan_change_forbidden", "Your subscription has ended. Ask the platform's support to start it again.");
}

/**
 * Fits the other fields to the status and period: a cancelled subscription has `cancelledAt` and is not due to be cancelled, a live
 * one has none; `nextBillingAt` follows from them and the unpaid invoices.
 */
export function fitted<S extends Subscription>({ nextBillingAt: _, cancelledAt, ...rest }: S, now: string): S {
  const cancelled = rest.status === "cancelled" ? { cancelAtPeriodEnd: false, cancelledAt: cancelledAt ?? now } : {};
  const after = { ...rest, ...cancelled } as unknown as S;
  const [due] = [billingDue(after)?.at, nextDunning(after)?.at].filter((at) => at !== undefined).sort();
  return due === undefined ? after : { ...after, nextBillingAt: due };
}

/** What is billed next, and its instant. */
export interface BillingDue {
  readonly at: string;
  /** `final`: the charges that are left after a cancellation. `invoice`: the present period. `period_end`: the end of a period or trial. */
  readonly kind: "final" | "invoice" | "period_end";
}

/** A paid period is invoiced at its start and renewed at its end. A trial is free until its end, also if the tenant is activated before. */
export function billingDue(
  { status, anchorDay, invoicedUntil = "", pendingItems, cancelledAt, ...period }: Subscription,
): BillingDue | null {
  if (status === "cancelled") {
    const owed = pendingItems.reduce((sum, { amount }) => sum + amount, 0);
    return owed > 0 && cancelledAt !== undefined ? { at: cancelledAt, kind: "final" } : null;
  }
  const isPaidFor = status === "trialing" || anchorDay === undefined || invoicedUntil >= period.currentPeriodEnd;
  return isPaidFor ? { at: period.currentPeriodEnd, kind: "period_end" } : { at: period.currentPeriodStart, kind: "invoice" };
}

/** Throws `validation_failed` if the period does not end after its start. */
export function assertPeriod({ currentPeriodStart, currentPeriodEnd }: Subscription): void {
  if (currentPeriodEnd > currentPeriodStart) return;
  throw errors.validation([{ path: "/currentPeriodEnd", message: "must be after currentPeriodStart", code: "invalid" }]);
}

/** Whether the subscription becomes a trial of a tenant that is not on trial. */
export function startsTrial(
  before: Pick<Subscription, "status"> | null,
  after: Pick<Subscription, "status">,
  tenant: Pick<Tenant, "status">,
): boolean {
  return after.status === "trialing" && before?.status !== "trialing" && tenant.status !== "trial";
}
