import type { z } from "zod";
import { domainClaim, subdomainClaim } from "./claims.ts";
import { subscription as subscriptionEntity } from "../subscriptions/entity.ts";
import { tenant as tenantEntity } from "./entity.ts";
import type { Tenant, TenantStatus } from "./entity.ts";
import type { tenantUpdate } from "./input.ts";
import { diff } from "../../core/redaction.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { Collection } from "../../core/collection.ts";
import type { Stored } from "../../core/collection.ts";
import { keyOf } from "../../kv/define.ts";
import type { Mutation, Store } from "../../kv/store.ts";
import { changedFields, mergePatch } from "../../core/merge-patch.ts";
import { monthlyRevenue } from "../../core/money.ts";
import { periodOf } from "../../core/periods.ts";
import { followed, resumed } from "../subscriptions/rules.ts";
import { nextStatus } from "./rules.ts";
import { findPlan, limitMutations, loadPlan, planCheck } from "../plans/subscribers.ts";
import type { StoredPlan } from "../plans/subscribers.ts";
import { claimChanges, missingReason, refuseClaim, strayReason } from "./setup.ts";
import { type Change, type Decision, type UnitOfWork, withoutVersion } from "../../core/unit-of-work.ts";

type StoredTenant = Stored<typeof tenantEntity>;

/** One asked change of a tenant: a patch, or a step of its state machine. */
export interface TenantMove {
  readonly action: string;
  readonly patch?: z.output<typeof tenantUpdate>;
  readonly to?: TenantStatus;
  readonly reason?: string;
  readonly reactivation?: boolean;
  readonly unsuspension?: boolean;
}

/** Decides a change of a tenant: its new record, and all that moves with it in the same commit. */
export async function decideChange(
  store: Store,
  unitOfWork: UnitOfWork,
  before: StoredTenant,
  move: TenantMove,
): Promise<Decision<StoredTenant>> {
  const now = unitOfWork.now();
  // The status moves by its machine below, and a reason stands only beside a suspension.
  const { suspensionReason: _, ...patch } = move.patch ?? {};
  const patched = { ...mergePatch(before, patch), status: before.status } as StoredTenant;
  const moved = moveStatus(patched, move, now);
  const planChange = patched.plan === before.plan ? null : await loadPlan(store, patched.plan, "/plan");
  const after: Tenant = { ...moved, ...revenueOf(move, planChange) };
  const changed = changedFields(before, after);
  if (Object.keys({ ...changed.before, ...changed.after }).length === 0) return { done: before };

  const record = { ...after, updatedAt: now };
  const change: Change = { entity: tenantEntity, before, after: record };
  const subscription = await subscriptionChange(store, before, record, now);
  const key = keyOf(tenantEntity, { id: before.id });
  return {
    commit: {
      changes: [change, ...claimChanges(before, record, now), ...(subscription ? [subscription] : [])],
      checks: planChange ? [planCheck(planChange)] : [],
      mutations: [
        ...releasedClaims(before, record),
        ...(planChange ? limitMutations(before.id, planChange.limits, periodOf(unitOfWork.context.clock.now()), now) : []),
      ],
      audit: [{
        action: move.action,
        resource: "tenant",
        resourceId: before.id,
        tenantId: before.id,
        of: change,
        ...movedSubscription(subscription),
      }],
      events: [{ type: move.action, subject: before.id, tenantId: before.id, data: { tenant: withoutVersion(record) } }],
      refuse: refuseClaim(record),
      answer: ({ versions }) => ({ ...record, version: versions[key] ?? before.version }),
    },
  };
}

/** An explicit revenue stays until a plan change without one. */
function revenueOf({ patch }: TenantMove, planChange: StoredPlan | null): Partial<Tenant> {
  if (patch?.mrr !== undefined) return { mrr: patch.mrr, mrrSource: "explicit" };
  return planChange ? { mrr: monthlyRevenue(planChange), mrrSource: "plan" } : {};
}

/** The subscription goes where its tenant goes: to its plan, and with its status. Null where nothing of it moves. */
async function subscriptionChange(store: Store, before: StoredTenant, after: Tenant, now: string): Promise<Change | null> {
  if (after.plan === before.plan && after.status === before.status) return null;
  const subscription = await new Collection(subscriptionEntity, store).get(before.id);
  if (!subscription) return null;
  const base = { ...subscription, ...(after.plan === before.plan ? {} : { planId: after.plan }) };
  const back = before.status === "cancelled" && after.status !== "cancelled";
  const moved = back
    ? resumed(base, now, (await findPlan(store, base.planId, "/plan")).interval)
    : after.status === before.status
    ? base
    : followed(base, after.status, now);
  return diff(subscriptionEntity, subscription, moved)
    ? { entity: subscriptionEntity, before: subscription, after: { ...moved, updatedAt: now } }
    : null;
}

/** The subscription's side of the change, in the one audit entry of the call. */
function movedSubscription(change: Change | null): { data?: JsonObject } {
  const changes = change && diff(change.entity, change.before, change.after);
  return changes ? { data: { subscription: { ...changes } as JsonObject } } : {};
}

/** The state machine's step with the times it leaves; a state it already has changes nothing but the reason for it. */
function moveStatus(record: StoredTenant, move: TenantMove, now: string): StoredTenant {
  const to = move.unsuspension ? unsuspended(record) : move.to ?? move.patch?.status ?? record.status;
  const step = nextStatus(record.status, to, move);
  const given = move.patch?.suspensionReason;
  if (given !== undefined && to !== "suspended") throw strayReason();
  if (step === "same") return given === undefined ? record : { ...record, suspensionReason: given };
  const { suspendedFrom: _from, suspensionReason: _reason, ...rest } = record;
  switch (to) {
    case "suspended": {
      const reason = (move.reason ?? given)?.trim();
      if (!reason) throw missingReason();
      return {
        ...record,
        status: to,
        suspendedAt: now,
        suspensionReason: reason,
        suspendedFrom: record.status === "trial" ? "trial" : "active",
      };
    }
    case "cancelled":
      return { ...rest, status: to, cancelledAt: now } as StoredTenant;
    default: {
      const { cancelledAt: _cancelledAt, ...live } = rest;
      return { ...live, status: to, ...(record.status === "suspended" ? { unsuspendedAt: now } : {}) } as StoredTenant;
    }
  }
}

/** Anything but a suspended tenant keeps its state: there is nothing to lift. */
function unsuspended(record: StoredTenant): TenantStatus {
  return record.status === "suspended" ? record.suspendedFrom ?? "active" : record.status;
}

/** Names given up; nobody else can hold them while this tenant's version stands. */
function releasedClaims(before: StoredTenant, after: Tenant): Mutation[] {
  return [
    ...(after.subdomain === before.subdomain ? [] : [keyOf(subdomainClaim, { label: before.subdomain })]),
    ...(after.customDomain === before.customDomain || before.customDomain === undefined
      ? []
      : [keyOf(domainClaim, { hostname: before.customDomain })]),
  ].map((key) => ({ op: "delete", key }));
}
