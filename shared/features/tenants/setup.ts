import { monthlyRevenue } from "../../core/money.ts";
import { addInterval, periodOf } from "../../core/periods.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import type { StoredPlan } from "../plans/subscribers.ts";
import { subscription } from "../subscriptions/entity.ts";
import { usageRecord } from "../usage/entity.ts";
import { firstUsage } from "../usage/limits.ts";
import { limitedMetrics, limitOf } from "../usage/rules.ts";
import type { Tenant } from "./entity.ts";
import { claimChanges } from "./names.ts";
import { initialStatus } from "./rules.ts";

/** Days of a trial when its plan names none (platform settings' default). */
export const TRIAL_DAYS = 14;
const DAY_MS = 86_400_000;

/** What a checked creation says of these, where it says it. */
type Given = Partial<Pick<Tenant, "status" | "mrr" | "suspensionReason" | "trialEndsAt">>;

/** The fields of a new tenant that follow from its plan and the present instant. */
export function initialFields(input: Given, plan: StoredPlan, nowMs: number): Partial<Tenant> {
  const now = isoTime(nowMs);
  const status = initialStatus(input, plan.trialDays !== undefined && plan.trialDays > 0);
  return {
    plan: plan.id,
    status,
    mrr: input.mrr ?? monthlyRevenue(plan),
    mrrSource: input.mrr === undefined ? "plan" : "explicit",
    created: now.slice(0, 10),
    ...(status === "trial" ? { trialEndsAt: input.trialEndsAt ?? isoTime(nowMs + (plan.trialDays ?? TRIAL_DAYS) * DAY_MS) } : {}),
    ...(status === "suspended" ? { suspendedAt: now, suspendedFrom: "active" as const } : {}),
    ...(status === "cancelled" ? { cancelledAt: now } : {}),
  };
}

/** Everything a new tenant starts with beside itself, for the same commit: its claims, subscription and usage of what its plan limits. */
export function setupChanges(tenant: Tenant, plan: StoredPlan, work: UnitOfWork): Change[] {
  const now = work.now();
  const period = periodOf(work.context.clock.now());
  const isTrial = tenant.status === "trial";
  const status = isTrial ? "trialing" : tenant.status === "cancelled" ? "cancelled" : "active";
  const end = isTrial && tenant.trialEndsAt !== undefined && tenant.trialEndsAt > now
    ? tenant.trialEndsAt
    : addInterval(now, plan.interval);
  const started = {
    id: work.newId("sub"),
    tenantId: tenant.id,
    planId: plan.id,
    status,
    currentPeriodStart: now,
    currentPeriodEnd: end,
    cancelAtPeriodEnd: false,
    createdAt: now,
    updatedAt: now,
    ...(status === "cancelled" ? { cancelledAt: now } : {}),
  };
  return [
    ...claimChanges(null, tenant, now),
    { entity: subscription, before: null, after: started },
    ...limitedMetrics(plan.limits).map((metric) => ({
      entity: usageRecord,
      before: null,
      after: firstUsage(tenant.id, metric, period, limitOf(plan.limits, metric), now),
    })),
  ];
}
