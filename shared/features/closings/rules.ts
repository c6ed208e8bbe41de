import { closesAt, nextPeriod, periodEnd, periodOf, periodStart, previousPeriod } from "../../core/periods.ts";
import type { LineItem } from "../invoices/entity.ts";
import type { PlanTerms } from "../plans/entity.ts";
import { MAX_OVERAGE_MONTHS, type Subscription } from "../subscriptions/entity.ts";
import { bounded } from "../subscriptions/proration.ts";
import type { Tenant } from "../tenants/entity.ts";
import type { UsageRecord } from "../usage/entity.ts";
import { overageOf } from "../usage/policies.ts";
import { plus, settledLevel } from "../usage/rules.ts";

/** The newest month that is closed at an instant. */
export function newestClosed(nowMs: number): string {
  const last = previousPeriod(periodOf(nowMs));
  return nowMs >= Date.parse(closesAt(last)) ? last : previousPeriod(last);
}

/** A count that was decided before the month closed is committed by then, also by a process whose clock is behind. */
export const SETTLED_AFTER_MS = 10 * 60_000;

/** The month to bill next, after `last`, 10 minutes after it closed. Without one it is the newest such month. Null if none is due. */
export function nextToClose(last: string | null, nowMs: number): string | null {
  const newest = newestClosed(nowMs - SETTLED_AFTER_MS);
  const next = last === null ? newest : nextPeriod(last);
  return next <= newest ? next : null;
}

/** Whether usage above the limits of the month is still to be billed. A trial is free, and so is what was never paid. */
export function isBillable({ status, anchorDay, overageMonths = [] }: Subscription, period: string): boolean {
  return status !== "trialing" && anchorDay !== undefined && !overageMonths.includes(period);
}

/**
 * From when on the usage of a month is paid for. Null if none of it is: the month was over before the trial, or began after a
 * cancellation or in a suspension that lasts.
 */
export function paidSince({ status, cancelledAt }: Subscription, tenant: PaidBy, period: string): string | null {
  const { trialEndsAt = "", suspendedAt } = tenant;
  const start = periodStart(period);
  if (status === "cancelled" && cancelledAt !== undefined && cancelledAt <= start) return null;
  if (tenant.status === "suspended" && suspendedAt !== undefined && suspendedAt <= start) return null;
  if (trialEndsAt >= periodEnd(period)) return null;
  return trialEndsAt > start ? trialEndsAt : start;
}
type PaidBy = Pick<Tenant, "status" | "suspendedAt" | "trialEndsAt">;

/** The plan with which a month ended, as far as it is known. */
export function soldIn({ planId, planVersion, monthPlan }: Subscription, period: string) {
  return monthPlan && monthPlan.period > period
    ? { planId: monthPlan.planId, planVersion: monthPlan.planVersion }
    : { planId, planVersion };
}

/** A counter with at most what was used from an instant on above its limit: what was used before was free. Days that began before are. */
export function usedSince(record: UsageRecord, since: string): UsageRecord {
  const { period, current, reserved, limit, daily } = record;
  if (limit === null || since <= periodStart(period)) return record;
  const paid = Object.entries(daily).reduce((sum, [day, amount]) => `${day}T00:00:00.000Z` >= since ? plus(sum, amount) : sum, 0);
  return { ...record, current: Math.min(current, plus(plus(limit, reserved), Math.max(0, paid))) };
}

/** The subscription with the lines of a month to be invoiced. */
export function withOverage<S extends Subscription>(before: S, period: string, lines: readonly LineItem[]): S {
  const overageMonths = [...before.overageMonths ?? [], period].slice(-MAX_OVERAGE_MONTHS);
  return { ...before, pendingItems: bounded([...before.pendingItems, ...lines]), overageMonths };
}

/** The lines of a month: for each price, the packages that are begun above the limit. Nothing for what is only reserved. */
export function overageLines(prices: NonNullable<PlanTerms["overage"]>, usage: readonly UsageRecord[]): LineItem[] {
  return usage.flatMap((record): LineItem[] => {
    const { metric, period, limit } = record;
    const price = Object.hasOwn(prices, metric) ? prices[metric] : undefined;
    const overage = overageOf({ current: settledLevel(record), limit });
    if (!price || overage === 0 || price.unitAmount === 0) return [];
    const quantity = Math.ceil(overage / price.per);
    return [{
      description: `Overage ${metric} ${period}`,
      quantity,
      unitAmount: price.unitAmount,
      amount: quantity * price.unitAmount,
      kind: "usage",
      periodStart: periodStart(period),
      periodEnd: periodEnd(period),
    }];
  });
}
