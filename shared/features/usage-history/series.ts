import type { UsageRecord } from "../usage/entity.ts";
import { plus } from "../usage/rules.ts";
import type { Span } from "./buckets.ts";

type Months = readonly Pick<UsageRecord, "daily" | "hourly">[];
/** An amount or a level, from an instant on. */
type Point = readonly [at: number, amount: number];

function dayPoints(months: Months): Point[] {
  return points(months.flatMap(({ daily }) => Object.entries(daily)), (day) => `${day}T00:00:00.000Z`);
}

function hourPoints(months: Months): Point[] {
  return points(months.flatMap(({ hourly = {} }) => Object.entries(hourly)), (hour) => `${hour}:00:00.000Z`);
}

function points(entries: readonly (readonly [name: string, amount: number])[], instantOf: (name: string) => string): Point[] {
  return entries.map(([name, amount]): Point => [Date.parse(instantOf(name)), amount]).sort(([a], [b]) => a - b);
}

/** What a counter counted in each bucket, zero where it counted nothing. */
export function sumsOf(months: Months, buckets: readonly Span[], resolution: "day" | "hour"): number[] {
  const found = resolution === "hour" ? hourPoints(months) : dayPoints(months);
  const sums = buckets.map(() => 0);
  let i = 0;
  for (const [at, amount] of found) {
    while (i < buckets.length && at >= (buckets[i]?.end ?? 0)) i += 1;
    const bucket = buckets[i];
    if (bucket && at >= bucket.start) sums[i] = plus(sums[i] ?? 0, amount);
  }
  return sums;
}

/** The level of a gauge at the end of each bucket. `before` is the level before the first month. */
export function levelsOf(months: Months, buckets: readonly Span[], before: number): number[] {
  const found = dayPoints(months);
  let level = before;
  let i = 0;
  return buckets.map(({ end }) => {
    for (; i < found.length && (found[i]?.[0] ?? 0) < end; i++) level = found[i]?.[1] ?? level;
    return level;
  });
}

/** The first day in the span whose hours do not add up to it: they were not recorded. Null if there is none. */
export function dayWithoutHours(months: Months, { start, end }: Span): string | null {
  const hours = new Map<string, number>();
  for (const { hourly = {} } of months) {
    for (const [hour, amount] of Object.entries(hourly)) hours.set(hour.slice(0, 10), plus(hours.get(hour.slice(0, 10)) ?? 0, amount));
  }
  const days = months.flatMap(({ daily }) => Object.entries(daily)).sort(([a], [b]) => a < b ? -1 : 1);
  const isIn = (day: string) => {
    const at = Date.parse(`${day}T00:00:00.000Z`);
    return at < end && at + 86_400_000 > start;
  };
  return days.find(([day, amount]) => isIn(day) && amount !== (hours.get(day) ?? 0))?.[0] ?? null;
}
