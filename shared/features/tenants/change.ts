import type { Stored } from "../../core/collection.ts";
import { periodOf } from "../../core/periods.ts";
import { type Decided, Records } from "../../core/records.ts";
import { diff } from "../../core/redaction.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { findPlan, loadPlan, planCheck, type StoredPlan } from "../plans/subscribers.ts";
import { subscription as subscriptionEntity } from "../subscriptions/entity.ts";
import { assertLive, assertTenantMoves, assertTrialUnused, followed, onPlan, resumed, trialEnd } from "../subscriptions/rules.ts";
import { limitMutations } from "../usage/limits.ts";
import type { Tenant, tenant } from "./entity.ts";
import { claimChanges, refuseClaim, releasedClaims } from "./names.ts";
import { moveStatus, type StatusMove } from "./rules.ts";

type StoredTenant = Stored<typeof tenant>;
type StoredSubscription = Stored<typeof subscriptionEntity>;

/** One asked change of a tenant: its record with a patch applied, and a step of its state machine. */
export interface TenantMove extends StatusMove {
  readonly patched: Tenant;
  /** The patch names a revenue. */
  readonly explicitMrr: boolean;
}

/** Decides a change of a tenant: its new record, and all that moves with it in the same commit. */
export async function decideChange(work: UnitOfWork, before: StoredTenant, move: TenantMove): Promise<Decided<Tenant>> {
  const now = work.now();
  const moved = moveStatus(move.patched, move, now);
  const isPlanChange = moved.plan !== before.plan;
  const isMove = isPlanChange || moved.status !== before.status;
  if (isPlanChange) assertTenantMoves(before);
  const subscriptions = new Records(subscriptionEntity, work);
  const [plan, subscription] = await Promise.all([
    isPlanChange ? loadPlan(work, moved.plan, "/plan") : needsPlan(before, moved) ? findPlan(work, moved.plan, "/plan") : null,
    isMove ? subscriptions.get(before.id) : null,
  ]);
  const newPlan = isPlanChange ? plan : null;
  if (newPlan) assertTrialUnused(before, newPlan);
  if (newPlan && subscription) assertLive(subscription);
  const trial = plan && isTrialStart(before, moved) ? { trialEndsAt: trialEnd(plan, now) } : {};
  const after: Tenant = { ...moved, ...trial, ...(newPlan ? onPlan(moved, newPlan, now) : {}), ...explicitRevenue(move) };
  const change = subscription && subscriptionChange(subscription, before, after, plan, now);
  // What does not change here must not have changed meanwhile, nor have come: it would stay behind.
  const beside = isMove && !change ? [{ key: subscriptions.key({ tenantId: before.id }), version: subscription?.version ?? null }] : [];
  return {
    record: after,
    changes: [...claimChanges(before, after, now), ...(change ? [change] : [])],
    checks: [...(newPlan ? [planCheck(newPlan)] : []), ...beside],
    mutations: [
      ...releasedClaims(before, after),
      ...(newPlan ? limitMutations(before.id, newPlan.limits, periodOf(work.context.clock.now()), now) : []),
    ],
    refuse: refuseClaim(after),
    data: movedSubscription(change),
  };
}

/** A trial that has no end yet: that of a pending tenant. */
function isTrialStart(before: Tenant, after: Tenant): boolean {
  return before.status === "pending" && after.status === "trial" && after.trialEndsAt === undefined;
}

function isComeback(before: Tenant, after: Tenant): boolean {
  return before.status === "cancelled" && after.status !== "cancelled";
}

/** Whether what follows from a step takes the plan it has, deactivated or not. */
function needsPlan(before: Tenant, after: Tenant): boolean {
  return isTrialStart(before, after) || isComeback(before, after);
}

/** An explicit revenue stays until a plan change without one. */
function explicitRevenue({ patched, explicitMrr }: TenantMove): Partial<Tenant> {
  return explicitMrr ? { mrr: patched.mrr, mrrSource: "explicit" } : {};
}

/** The subscription goes where its tenant goes: to its plan, and with its status. Null where nothing of it moves. */
function subscriptionChange(
  before: StoredSubscription,
  tenantBefore: Tenant,
  tenantAfter: Tenant,
  plan: StoredPlan | null,
  now: string,
): Change | null {
  const moved = { ...before, planId: tenantAfter.plan };
  const after = isComeback(tenantBefore, tenantAfter) && plan
    ? resumed(moved, tenantAfter, now, plan.interval)
    : tenantAfter.status === tenantBefore.status
    ? moved
    : followed(moved, tenantBefore.status, tenantAfter, now);
  const differs = diff(subscriptionEntity, before, after);
  return differs ? { entity: subscriptionEntity, before, after: { ...after, updatedAt: now } } : null;
}

/** The subscription's side of the change, in the one audit entry of the call. */
function movedSubscription(change: Change | null): JsonObject | undefined {
  const changes = change && diff(change.entity, change.before, change.after);
  return changes ? { subscription: { ...changes } as JsonObject } : undefined;
}
