import { addDays, addInterval, dayOfMonth, periodEnd, periodOf } from "../../core/periods.ts";
import { isoTime } from "../../kernel/clock.ts";
import type { PlanTerms } from "../plans/entity.ts";
import type { Subscription } from "../subscriptions/entity.ts";
import { dayIn, startOfDay } from "./zones.ts";

export const BUCKETS = ["hour", "day", "month", "billing_period"] as const;
export type BucketSize = (typeof BUCKETS)[number];

/** The maximum number of buckets of one response. */
export const MAX_BUCKETS = 1_000;
const HOUR_MS = 3_600_000;

/** An interval in milliseconds, `start ≤ t < end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** The beginning of the bucket that contains an instant, and of the one after a beginning. */
export interface Grid {
  readonly floor: (epochMs: number) => number;
  readonly next: (start: number) => number;
}

type Terms = Pick<Subscription, "currentPeriodStart" | "anchorDay"> & Pick<PlanTerms, "interval" | "intervalCount">;

export function gridOf(size: Exclude<BucketSize, "billing_period">, zone: string): Grid {
  if (size === "hour") return { floor: (at) => at - modulo(at, HOUR_MS), next: (start) => start + HOUR_MS };
  if (size === "day") {
    return {
      floor: (at) => startOfDay(zone, dayIn(zone, at)),
      next: (start) => startOfDay(zone, addDays(`${dayIn(zone, start)}T00:00:00.000Z`, 1).slice(0, 10)),
    };
  }
  const first = (period: string) => startOfDay(zone, `${period}-01`);
  return {
    floor: (at) => first(dayIn(zone, at).slice(0, 7)),
    next: (start) => first(periodEnd(dayIn(zone, start).slice(0, 7)).slice(0, 7)),
  };
}

/** Billing periods by whole days in UTC, before and after the present one. Usage has no time of day. */
export function billingGrid(terms: Terms): Grid {
  const { currentPeriodStart, anchorDay = dayOfMonth(currentPeriodStart), interval, intervalCount } = terms;
  const boundary = (n: number) =>
    Date.parse(`${addInterval(currentPeriodStart, { interval, intervalCount: intervalCount * n }, anchorDay).slice(0, 10)}T00:00:00.000Z`);
  const indexOf = (at: number) => {
    const length = (boundary(12) - boundary(0)) / 12;
    let n = Math.floor((at - boundary(0)) / length);
    while (boundary(n) > at) n -= 1;
    while (boundary(n + 1) <= at) n += 1;
    return n;
  };
  return { floor: (at) => boundary(indexOf(at)), next: (start) => boundary(indexOf(start) + 1) };
}

/** The buckets that a span touches, each whole. Null if there are more than 1,000. */
export function bucketsOf({ start, end }: Span, grid: Grid): Span[] | null {
  const buckets: Span[] = [];
  for (let at = grid.floor(start); at < end; at = grid.next(at)) {
    if (buckets.length === MAX_BUCKETS) return null;
    buckets.push({ start: at, end: grid.next(at) });
  }
  return buckets;
}

/** The months in UTC that the buckets touch. */
export function periodsOf(buckets: readonly Span[]): string[] {
  const last = periodOf((buckets.at(-1)?.end ?? 0) - 1);
  const periods: string[] = [];
  for (let period = periodOf(buckets[0]?.start ?? 0); period <= last; period = periodEnd(period).slice(0, 7)) periods.push(period);
  return periods;
}

/** A bucket as responses show it. */
export function shownSpan({ start, end }: Span) {
  return { start: isoTime(start), end: isoTime(end) };
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}
