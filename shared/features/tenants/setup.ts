import { monthlyRevenue } from "../../core/money.ts";
import { periodOf } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { firstEntitlements } from "../entitlements/changes.ts";
import type { StoredPlan } from "../plans/subscribers.ts";
import { assertTrials } from "../settings/enforcement.ts";
import type { PlatformSettings } from "../settings/entity.ts";
import { subscription } from "../subscriptions/entity.ts";
import { fitted, isTrialPlan, started, trialEnd } from "../subscriptions/rules.ts";
import { usageRecord } from "../usage/entity.ts";
import { firstUsage } from "../usage/limits.ts";
import { limitedMetrics, limitOf } from "../usage/rules.ts";
import type { Tenant } from "./entity.ts";
import { claimChanges } from "./names.ts";
import { initialStatus } from "./rules.ts";

/** The fields of a checked body that decide the initial state. */
type Given = Partial<Pick<Tenant, "status" | "mrr" | "suspensionReason" | "trialEndsAt">>;

/** The fields of a new tenant that follow from its plan, the settings and the present instant. Throws `trials_disabled`. */
export function initialFields(input: Given, plan: StoredPlan, settings: PlatformSettings, nowMs: number): Partial<Tenant> {
  const now = isoTime(nowMs);
  const status = initialStatus(input, settings.enableTrials && plan.trialDays !== undefined && plan.trialDays > 0);
  assertTrials(settings, status === "trial" || (isTrialPlan(plan) && status !== "cancelled" && status !== "suspended"));
  return {
    plan: plan.id,
    status,
    // Its subscription is cancelled with it.
    mrr: input.mrr ?? (status === "cancelled" ? 0 : monthlyRevenue(plan)),
    mrrSource: input.mrr === undefined ? "plan" : "explicit",
    created: now.slice(0, 10),
    ...(status === "trial" ? { trialEndsAt: input.trialEndsAt ?? trialEnd(plan, settings, now) } : {}),
    ...(status === "suspended" ? { suspendedAt: now, suspendedFrom: "active" as const } : {}),
    ...(status === "cancelled" ? { cancelledAt: now } : {}),
  };
}

/**
 * What is created with a tenant: its claims, its subscription, its entitlements, and a usage record for each metric that its plan
 * limits. The event carries the entitlements.
 */
export function setupChanges(tenant: Tenant, plan: StoredPlan, work: UnitOfWork) {
  const now = work.now();
  const period = periodOf(work.context.clock.now());
  const start = {
    id: work.newId("sub"),
    tenantId: tenant.id,
    planId: plan.id,
    planVersion: plan.planVersion,
    ...started(tenant, plan, now),
    cancelAtPeriodEnd: false,
    pendingItems: [],
    unpaidInvoices: [],
    createdAt: now,
    updatedAt: now,
  };
  const its = fitted(start, now);
  const { changes, eventData } = firstEntitlements(tenant, its, plan, now);
  const usage = limitedMetrics(plan.limits).map((metric) => ({
    entity: usageRecord,
    before: null,
    after: firstUsage(tenant.id, metric, period, limitOf(plan.limits, metric), now),
  }));
  return {
    changes: [...claimChanges(null, tenant, now), { entity: subscription, before: null, after: its }, ...changes, ...usage],
    eventData,
  };
}
