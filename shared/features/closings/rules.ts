import { closesAt, nextPeriod, periodEnd, periodOf, periodStart, previousPeriod } from "../../core/periods.ts";
import type { LineItem } from "../invoices/entity.ts";
import type { PlanTerms } from "../plans/entity.ts";
import { MAX_OVERAGE_MONTHS, type Subscription } from "../subscriptions/entity.ts";
import { bounded } from "../subscriptions/proration.ts";
import type { UsageRecord } from "../usage/entity.ts";
import { overageOf } from "../usage/policies.ts";
import { settledLevel } from "../usage/rules.ts";

/** The newest month that is closed at an instant. */
export function newestClosed(nowMs: number): string {
  const last = previousPeriod(periodOf(nowMs));
  return nowMs >= Date.parse(closesAt(last)) ? last : previousPeriod(last);
}

/** The month to close next, after `last`. Without one it is the newest closed month. Null if none is due. */
export function nextToClose(last: string | null, nowMs: number): string | null {
  const newest = newestClosed(nowMs);
  const next = last === null ? newest : nextPeriod(last);
  return next <= newest ? next : null;
}

/** Whether usage above the limits of the month is still to be billed. A trial is free, and so is what was never paid. */
export function isBillable({ status, anchorDay, overageMonths = [] }: Subscription, period: string): boolean {
  return status !== "trialing" && anchorDay !== undefined && !overageMonths.includes(period);
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
