import type { Stored } from "../../core/collection.ts";
import { type Decided, Records } from "../../core/records.ts";
import { diff } from "../../core/redaction.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { entitlementChanges } from "../entitlements/changes.ts";
import { storedEntitlements } from "../entitlements/reads.ts";
import type { PlanTerms } from "../plans/entity.ts";
import { currentPlan, loadPlan, planCheck, type StoredPlan } from "../plans/subscribers.ts";
import { findTerms, soldTerms } from "../plans/versions.ts";
import { hadRevenue, movementChanges } from "../revenue/changes.ts";
import { revenueOf } from "../revenue/rules.ts";
import { currentSettings, DEFAULT_SETTINGS } from "../settings/current.ts";
import { assertTrials, placeOnPlan } from "../settings/enforcement.ts";
import { type Subscription, subscription as subscriptionEntity } from "../subscriptions/entity.ts";
import { planChange } from "../subscriptions/proration.ts";
import { isResumed, withRevenue } from "../subscriptions/revenue.ts";
import {
  assertLive,
  assertTenantCanChangePlan,
  assertTrialUnused,
  fitted,
  followed,
  isFreed,
  isTrialPlan,
  newPeriod,
  onPlan,
  resumed,
  trialEnd,
  withTrialEnd,
} from "../subscriptions/rules.ts";
import type { Tenant, tenant } from "./entity.ts";
import { claimChanges, refuseClaim, releasedClaims } from "./names.ts";
import { moveStatus, type StatusMove } from "./rules.ts";

type StoredTenant = Stored<typeof tenant>;
type StoredSubscription = Stored<typeof subscriptionEntity>;

/** A requested change of a tenant: its patched record, and a step of its state machine. */
export interface TenantMove extends StatusMove {
  readonly patched: Tenant;
  /** Whether the patch sets `mrr`. */
  readonly explicitMrr: boolean;
}

/** Decides on a change of a tenant: its new record, and everything that changes in the same commit. */
export async function decideChange(work: UnitOfWork, before: StoredTenant, move: TenantMove): Promise<Decided<Tenant>> {
  const now = work.now();
  const moved = moveStatus(move.patched, move, now);
  const isPlanChange = moved.plan !== before.plan;
  const isMove = isPlanChange || moved.status !== before.status;
  const isFollowed = isMove || moved.trialEndsAt !== before.trialEndsAt;
  if (isPlanChange) assertTenantCanChangePlan(before);
  const subscriptions = new Records(subscriptionEntity, work);
  const [newPlan, subscription, stored, had, settings] = await Promise.all([
    isPlanChange ? loadPlan(work, moved.plan, "/plan") : null,
    isFollowed ? subscriptions.get(before.id) : null,
    isMove ? storedEntitlements(work, before.id) : null,
    isMove && revenueOf(before) === 0 ? hadRevenue(work, before) : null,
    isMove ? currentSettings(work) : DEFAULT_SETTINGS,
  ]);
  assertTrials(settings, (before.status === "pending" && moved.status === "trial") || (newPlan !== null && isTrialPlan(newPlan)));
  const [terms, sold, place] = await Promise.all([
    newPlan ?? (needsTerms(before, moved) ? currentTerms(work, subscription, moved.plan) : null),
    subscription && (newPlan || isBack(before, moved, subscription)) ? findTerms(work, subscription) : null,
    isPlanChange || isReactivation(before, moved) ? placeOnPlan(work, settings, moved.plan) : [],
  ]);
  if (newPlan) assertTrialUnused(before, newPlan);
  if (newPlan && subscription) assertLive(subscription);
  const trial = terms && isTrialStart(before, moved) ? { trialEndsAt: trialEnd(terms, settings, now) } : {};
  const decided: Tenant = { ...moved, ...trial, ...(newPlan ? onPlan(moved, newPlan, settings, now) : {}), ...explicitRevenue(move) };
  const change = subscription && subscriptionChange(subscription, before, decided, { newPlan, terms, sold }, now);
  // An unchanged or absent subscription is checked, because a concurrent change of it would not follow this one.
  const beside = isFollowed && !change ? [{ key: subscriptions.key({ tenantId: before.id }), version: subscription?.version ?? null }] : [];
  const its = (change ? change.after : subscription) as Subscription | null;
  const after = withRevenue(decided, its, its && isResumed(subscription, its) ? terms : null);
  const [entitled, movements] = await Promise.all([
    isMove ? entitlementChanges(work, { tenant: after, subscription: its, terms: newPlan, stored }) : null,
    movementChanges(work, before, after, had),
  ]);
  return {
    record: after,
    changes: [
      ...claimChanges(before, after, now),
      ...(change ? [change] : []),
      ...movements,
      ...entitled?.changes ?? [],
    ],
    checks: [...(newPlan ? [planCheck(newPlan)] : []), ...place, ...beside],
    mutations: [...releasedClaims(before, after), ...entitled?.mutations ?? []],
    refuse: refuseClaim(after),
    data: movedSubscription(change),
    eventData: entitled?.eventData,
  };
}

/** Whether a pending tenant starts its trial, which has no end yet. */
function isTrialStart(before: Tenant, after: Tenant): boolean {
  return before.status === "pending" && after.status === "trial" && after.trialEndsAt === undefined;
}

function isReactivation(before: Tenant, after: Tenant): boolean {
  return before.status === "cancelled" && after.status !== "cancelled";
}

/** Whether the tenant is live again in a period that was free because it was not, which ends. */
function isBack(before: Tenant, after: Tenant, subscription: Subscription): boolean {
  return !isFreed(subscription, before) && isFreed(subscription, after);
}

/** Whether the change depends on the terms of the tenant's plan, which may be deactivated. */
function needsTerms(before: Tenant, after: Tenant): boolean {
  return isTrialStart(before, after) || isReactivation(before, after) || (before.status === "pending" && after.status === "active");
}

/** The terms that the tenant was sold; without a subscription, which only an import can cause, its plan's. */
async function currentTerms(work: UnitOfWork, subscription: StoredSubscription | null, planId: string): Promise<PlanTerms> {
  return subscription ? await soldTerms(work, subscription) : await currentPlan(work, planId);
}

/** An explicit `mrr` stays until a plan change that does not set one. */
function explicitRevenue({ patched, explicitMrr }: TenantMove): Partial<Tenant> {
  return explicitMrr ? { mrr: patched.mrr, mrrSource: "explicit" } : {};
}

/** The change of the subscription that follows from its tenant's plan, status and trial. Null if nothing changes. */
function subscriptionChange(
  before: StoredSubscription,
  tenantBefore: Tenant,
  tenantAfter: Tenant,
  { newPlan, terms, sold }: { readonly newPlan: StoredPlan | null; readonly terms: PlanTerms | null; readonly sold: PlanTerms | null },
  now: string,
): Change | null {
  const moved = newPlan ? planChange(before, sold, newPlan, now).subscription : before;
  const decided = isReactivation(tenantBefore, tenantAfter) && terms
    ? resumed(moved, tenantAfter, now, terms)
    : tenantAfter.status === tenantBefore.status
    ? tenantAfter.trialEndsAt === tenantBefore.trialEndsAt ? moved : withTrialEnd(moved, tenantAfter)
    : followed(moved, tenantBefore.status, tenantAfter, now, terms);
  const paid = newPlan ?? sold;
  const after = fitted(paid && isBack(tenantBefore, tenantAfter, decided) ? newPeriod(decided, paid, now) : decided, now);
  const differs = diff(subscriptionEntity, before, after);
  return differs ? { entity: subscriptionEntity, before, after: { ...after, updatedAt: now } } : null;
}

/** The changed fields of the subscription, for the tenant's audit entry. */
function movedSubscription(change: Change | null): JsonObject | undefined {
  const changes = change && diff(change.entity, change.before, change.after);
  return changes ? { subscription: { ...changes } as JsonObject } : undefined;
}
