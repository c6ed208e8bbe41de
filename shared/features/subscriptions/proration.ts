import { dividedHalfUp } from "../../core/money.ts";
import { periodOf, type Recurrence } from "../../core/periods.ts";
import type { LineItem } from "../invoices/entity.ts";
import type { Plan, PlanTerms } from "../plans/entity.ts";
import { MAX_PENDING_ITEMS, type Subscription } from "./entity.ts";
import { newPeriod } from "./rules.ts";

type Price = Pick<PlanTerms, "price" | "currency" | "interval" | "intervalCount">;

/** A subscription after its plan changed, and what the change costs. */
export interface PlanChange {
  readonly subscription: Subscription;
  /** The charges and credits that were added to the pending items. */
  readonly items: LineItem[];
  /** Their sum, in the minor unit; negative if the change is a credit. */
  readonly net: number;
  /** Whether a new billing period begins with the change, because the interval differs. */
  readonly startsPeriod: boolean;
}

/**
 * A change of plan at `now`. With the same billing interval the period continues, and two items settle the rest of it: a credit for
 * the old plan and a charge for the new one. With another interval, or if the caller sets a new period, a new one begins. A trial is
 * free, so nothing is settled, and neither is a plan whose terms no longer exist (null).
 */
export function planChange(subscription: Subscription, from: PlanTerms | null, to: Plan, now: string, isNewPeriod = false): PlanChange {
  const moved = onPlan(subscription, to, now);
  if (!isBilled(subscription) || from === null) return unbilled(moved);
  const at = within(subscription, now);
  const price = presentPrice(subscription, from);
  const startsPeriod = isNewPeriod || !isSameInterval(price, to);
  const items = settled(subscription, price, startsPeriod ? null : to, at);
  // What was paid for the rest of the old period is credited, so the new one is paid up to its start.
  return changed(startsPeriod ? newPeriod(moved, to, at) : moved, items, startsPeriod);
}

/** A change of plan whose price begins with the next period. The present period costs what it did, whether it is invoiced or not. */
export function changeWithNextPeriod(subscription: Subscription, from: PlanTerms, to: Plan, now: string): PlanChange {
  const moved = onPlan(subscription, to, now);
  return unbilled(isBilled(subscription) ? { ...moved, periodPrice: presentPrice(subscription, from) } : moved);
}

/** A change of plan that keeps the price and the billing interval of the old one, also in later periods. */
export function changeWithKeptPrice(subscription: Subscription, from: PlanTerms, to: Plan, now: string): PlanChange {
  const { periodPrice } = subscription;
  return unbilled({ ...onPlan(subscription, to, now), keptPrice: priceOf(from), ...(periodPrice ? { periodPrice } : {}) });
}

/** The price of the present period. `sold`: that of the next one. */
function presentPrice({ periodPrice }: Subscription, sold: PlanTerms): Price {
  return periodPrice ?? priceOf(sold);
}

function priceOf({ price, currency, interval, intervalCount }: PlanTerms): Price {
  return { price, currency, interval, intervalCount };
}

function onPlan(
  { keptPrice: _, periodPrice: _price, ...subscription }: Subscription,
  { id, planVersion }: Plan,
  now: string,
): Subscription {
  return { ...subscription, planId: id, planVersion, monthPlan: monthPlan(subscription as Subscription, now) } as Subscription;
}

/** A change in the first days of a month does not change the price of what was used above the limits in the month before. */
function monthPlan({ planId, planVersion, monthPlan: known }: Subscription, now: string): Subscription["monthPlan"] {
  const period = periodOf(Date.parse(now));
  return known?.period === period ? known : { period, planId, planVersion };
}

function unbilled(subscription: Subscription): PlanChange {
  return { subscription, items: [], net: 0, startsPeriod: false };
}

function changed(subscription: Subscription, items: LineItem[], startsPeriod: boolean): PlanChange {
  const pendingItems = bounded([...subscription.pendingItems, ...items]);
  return { subscription: { ...subscription, pendingItems }, items, net: sumOf(items), startsPeriod };
}

/**
 * Whether the present period is paid for. Without an anchor it is a trial, also after an early activation. One that began in a
 * suspension is free.
 */
export function isBilled({ status, anchorDay, freeUntil = "", currentPeriodEnd }: Subscription): boolean {
  return status !== "cancelled" && status !== "trialing" && anchorDay !== undefined && freeUntil < currentPeriodEnd;
}

/** Whether the present period has its invoice. Otherwise the invoice of the present plan for all of it is due. */
export function isInvoiced({ invoicedUntil = "", currentPeriodEnd }: Subscription): boolean {
  return invoicedUntil >= currentPeriodEnd;
}

function isSameInterval(a: Recurrence, b: Recurrence): boolean {
  return a.interval === b.interval && (a.intervalCount ?? 1) === (b.intervalCount ?? 1);
}

/** The instant of the change within the period. If the renewal is late, the change counts from the end of the period. */
function within({ currentPeriodStart, currentPeriodEnd }: Subscription, now: string): string {
  return now < currentPeriodStart ? currentPeriodStart : now > currentPeriodEnd ? currentPeriodEnd : now;
}

/**
 * The items that make the period cost the old plan before `at` and the new one from then on. If the old plan is invoiced for the
 * whole period, they settle the rest of it; otherwise the new plan will be, and they settle the part before `at`.
 */
function settled(subscription: Subscription, from: Price, to: (Price & Pick<Plan, "id">) | null, at: string): LineItem[] {
  const { currentPeriodStart: start, currentPeriodEnd: end, planId } = subscription;
  const isPaid = isInvoiced(subscription);
  const part = isPaid ? { periodStart: at, periodEnd: end } : { periodStart: start, periodEnd: at };
  const share = (price: number) => shareOf(price, part, { periodStart: start, periodEnd: end });
  const old = share(from.price);
  const next = to === null ? 0 : share(to.price);
  const charge = (plan: string, amount: number) => itemOf(`${plan}, ${datesOf(part)}`, amount, part);
  const credit = (plan: string, amount: number) => itemOf(`${plan}, not used ${datesOf(part)}`, -amount, part);
  const newPlan = to?.id ?? planId;
  const items = isPaid ? [credit(planId, old), charge(newPlan, next)] : [charge(planId, old), credit(newPlan, next)];
  return items.filter(({ amount }) => amount !== 0);
}

interface Span {
  readonly periodStart: string;
  readonly periodEnd: string;
}

/** price × part / whole, in milliseconds, rounded half up. */
function shareOf(price: number, part: Span, whole: Span): number {
  return dividedHalfUp(BigInt(price) * BigInt(lengthMs(part)), BigInt(lengthMs(whole)));
}

function lengthMs({ periodStart, periodEnd }: Span): number {
  return Date.parse(periodEnd) - Date.parse(periodStart);
}

function datesOf({ periodStart, periodEnd }: Span): string {
  return `from ${periodStart.slice(0, 10)} to ${periodEnd.slice(0, 10)}`;
}

function itemOf(description: string, amount: number, part: Span): LineItem {
  // `+ 0` turns -0 into 0.
  return { description, quantity: 1, unitAmount: amount + 0, amount: amount + 0, kind: "proration", ...part };
}

/** The items, of which the oldest are added up if a record could not hold them all. The sum stays. */
export function bounded(items: LineItem[]): LineItem[] {
  const surplus = items.slice(0, Math.max(0, items.length - MAX_PENDING_ITEMS + 1));
  if (surplus.length < 2) return items;
  const periodStart = surplus.map((item) => item.periodStart ?? "").filter(Boolean).toSorted()[0];
  const periodEnd = surplus.map((item) => item.periodEnd ?? "").toSorted().at(-1);
  const dates = periodStart && periodEnd ? { periodStart, periodEnd } : null;
  const amount = sumOf(surplus);
  const isChanges = surplus.every(({ kind }) => kind === "proration");
  const named = isChanges
    ? { description: "Earlier changes of plan", kind: "proration" as const }
    : { description: "Earlier charges and credits", kind: "other" as const };
  const merged = { ...named, quantity: 1, unitAmount: amount, amount, ...dates };
  return [merged, ...items.slice(surplus.length)];
}

export function sumOf(items: readonly Pick<LineItem, "amount">[]): number {
  return items.reduce((sum, { amount }) => sum + amount, 0);
}
