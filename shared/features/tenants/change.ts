import type { Stored } from "../../core/collection.ts";
import { monthlyRevenue } from "../../core/money.ts";
import { type Decided, Records } from "../../core/records.ts";
import { diff } from "../../core/redaction.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { findPlan, loadPlan, planCheck, type StoredPlan } from "../plans/subscribers.ts";
import { subscription as subscriptionEntity } from "../subscriptions/entity.ts";
import { assertLive, assertTrialUnused, followed, resumed } from "../subscriptions/rules.ts";
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
  const isComeback = before.status === "cancelled" && moved.status !== "cancelled";
  const follows = isPlanChange || moved.status !== before.status;
  const [plan, subscription] = await Promise.all([
    isPlanChange ? loadPlan(work, moved.plan, "/plan") : isComeback ? findPlan(work, moved.plan, "/plan") : null,
    follows ? new Records(subscriptionEntity, work).get(before.id) : null,
  ]);
  const newPlan = isPlanChange ? plan : null;
  if (newPlan) assertTrialUnused(before, newPlan);
  const after: Tenant = { ...moved, ...revenueOf(move, newPlan) };
  const change = subscription && subscriptionChange(subscription, before, after, plan, now);
  return {
    record: after,
    changes: [...claimChanges(before, after, now), ...(change ? [change] : [])],
    checks: newPlan ? [planCheck(newPlan)] : [],
    mutations: [
      ...releasedClaims(before, after),
      ...(newPlan ? await limitMutations(work, before.id, newPlan.limits) : []),
    ],
    refuse: refuseClaim(after),
    data: movedSubscription(change),
  };
}

/** An explicit revenue stays until a plan change without one. */
function revenueOf({ patched, explicitMrr }: TenantMove, newPlan: StoredPlan | null): Partial<Tenant> {
  if (explicitMrr) return { mrr: patched.mrr, mrrSource: "explicit" };
  return newPlan ? { mrr: monthlyRevenue(newPlan), mrrSource: "plan" } : {};
}

/** The subscription goes where its tenant goes: to its plan, and with its status. Null where nothing of it moves. */
function subscriptionChange(
  before: StoredSubscription,
  tenantBefore: Tenant,
  tenantAfter: Tenant,
  plan: StoredPlan | null,
  now: string,
): Change | null {
  const isComeback = tenantBefore.status === "cancelled" && tenantAfter.status !== "cancelled";
  if (tenantAfter.plan !== tenantBefore.plan && !isComeback) assertLive(before);
  const onPlan = { ...before, planId: tenantAfter.plan };
  const after = isComeback && plan
    ? resumed(onPlan, now, plan.interval)
    : tenantAfter.status === tenantBefore.status
    ? onPlan
    : followed(onPlan, tenantAfter.status, now);
  const differs = diff(subscriptionEntity, before, after);
  return differs ? { entity: subscriptionEntity, before, after: { ...after, updatedAt: now } } : null;
}

/** The subscription's side of the change, in the one audit entry of the call. */
function movedSubscription(change: Change | null): JsonObject | undefined {
  const changes = change && diff(change.entity, change.before, change.after);
  return changes ? { subscription: { ...changes } as JsonObject } : undefined;
}
