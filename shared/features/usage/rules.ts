import { QUANTITY_DECIMALS, roundedQuantity } from "../../core/values.ts";
import { closesAt, periodEnd } from "../../core/periods.ts";
import { DEFAULT_THRESHOLDS, type Metric } from "../metrics/entity.ts";
import { LIMITS_WITHOUT_METRIC, type Plan } from "../plans/entity.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { UsageRecord } from "./entity.ts";

/** The current amount and its limit. A limit of null is unlimited; a limit of 0 allows nothing. */
export type Level = Pick<UsageRecord, "current" | "limit">;

/** A usage record as responses show it, with the fields of its metric and the computed ones. */
export type Usage = UsageRecord & Pick<Metric, "unit" | "kind" | "policy"> & {
  /** 0–100, rounded; 100 when over, 0 when unlimited. */
  readonly percentage: number;
  /** Whether the limit is reached or exceeded. */
  readonly overLimit: boolean;
  /** First instant of the next period; null for a gauge, which carries over. */
  readonly resetsAt: string | null;
  /** Null if nothing was recorded in this period. */
  readonly version: string | null;
};

/** The metric of a usage record, as it was read. */
export type SeenMetric = Pick<Metric, "unit" | "kind" | "policy" | "createdAt" | "updatedAt"> & { readonly version: string };

export function viewOf(record: UsageRecord, metric: SeenMetric, recordVersion: string | null): Usage {
  const { unit, kind, policy } = metric;
  const { current, limit } = record;
  const resetsAt = kind === "counter" ? periodEnd(record.period) : null;
  const version = recordVersion === null ? null : recordVersion + versionSuffix(metric);
  const percentage = usagePercentage(current, limit);
  return { ...record, unit, kind, policy, percentage, overLimit: isOverLimit(current, limit), resetsAt, version };
}

/** `unit` and `policy` are the metric's: a representation that shows another one must have another ETag (RFC 9110 §8.8.1). */
export function versionSuffix({ createdAt, updatedAt, version }: SeenMetric): string {
  return updatedAt === undefined || updatedAt === createdAt ? "" : `-${version}`;
}

export function limitOf(limits: Plan["limits"], metric: string): number | null {
  return Object.hasOwn(limits, metric) ? limits[metric] ?? null : null;
}

/** The metrics that a plan's limits name. Another metric is unlimited and gets its record with its first use. */
export function limitedMetrics(limits: Plan["limits"]): string[] {
  return meteredOf(Object.keys(limits));
}

/** The names of limits that are metrics. */
export function meteredOf(names: readonly string[]): string[] {
  return names.filter((name) => !LIMITS_WITHOUT_METRIC.has(name));
}

/** 0–100, rounded; 100 when over, 0 when unlimited. 999 of 1000 rounds to 100 but is not over: use {@link isOverLimit}. */
export function usagePercentage(current: number, limit: number | null): number {
  if (limit === null) return 0;
  if (current >= limit) return 100;
  return Math.round((current / limit) * 100);
}

/** Whether the limit is reached. A full limit counts as over, because nothing more fits. */
export function isOverLimit(current: number, limit: number | null): boolean {
  return limit !== null && current >= limit;
}

/** Whether usage is at a percentage of the limit or above, exactly and without rounding. What is not used reaches nothing. */
export function isReached({ current, limit }: Level, threshold: number): boolean {
  if (limit === null || current <= 0) return false;
  const [used, allowed] = [current * 100, limit * threshold];
  // Most amounts are integers. Their products are exact up to 2^53 - 1.
  const isExact = Number.isInteger(current) && Number.isInteger(limit) && used <= Number.MAX_SAFE_INTEGER &&
    allowed <= Number.MAX_SAFE_INTEGER;
  return isExact ? used >= allowed : millionths(current) * 100n >= millionths(limit) * BigInt(threshold);
}

/** The percentage of the limit, exact and rounded down, not capped at 100. It fits an integer of JSON also if the limit is tiny. */
export function wholePercentage(current: number, limit: number): number {
  if (limit === 0) return 100;
  const percentage = millionths(current) * 100n / millionths(limit);
  return Number(percentage < MAX_INTEGER ? percentage : MAX_INTEGER);
}
const MAX_INTEGER = BigInt(Number.MAX_SAFE_INTEGER);

/** The number of thresholds that are reached. */
export function thresholdsReached(level: Level, thresholds: readonly number[] = DEFAULT_THRESHOLDS): number {
  return thresholds.filter((threshold) => isReached(level, threshold)).length;
}

/** An amount has at most 6 decimals. */
function millionths(amount: number): bigint {
  return BigInt(amount.toFixed(QUANTITY_DECIMALS).replace(".", ""));
}

/** A sum, rounded to the decimals of a metered amount: 0.1 + 0.2 is 0.3. */
export function plus(a: number, b: number): number {
  return roundedQuantity(a + b);
}

/** The level without what is only reserved. A gauge carries it over to the next month. */
export function settledLevel({ current, reserved }: Pick<UsageRecord, "current" | "reserved">): number {
  return plus(current, -reserved);
}

/** The record of a counter with another total. The day and the hour take the difference, so that they still add up to the total. */
export function corrected(record: UsageRecord, current: number, day: string, hour: string | null): UsageRecord {
  const by = plus(current, -record.current);
  const daily = { ...record.daily, [day]: plus(record.daily[day] ?? 0, by) };
  const hourly = hour === null ? {} : { hourly: { ...record.hourly, [hour]: plus(record.hourly?.[hour] ?? 0, by) } };
  return { ...record, current, daily, ...hourly };
}

/** The record of a gauge with another level, beside what is reserved. */
export function levelled(record: UsageRecord, level: number, day: string): UsageRecord {
  return { ...record, current: plus(level, record.reserved), daily: { ...record.daily, [day]: level } };
}

/** The refusal of a count in a month that is closed. */
export function monthClosed(period: string): InnkeepError {
  const message = `${period} closed at ${closesAt(period)}, so usage is no longer counted in it. ` +
    "Correct its usage with PUT, or count in the current month.";
  return new InnkeepError("period_closed", message);
}

/** The highest percentage of all metrics, a tenant's `usagePercent`. */
export function highestPercentage(usage: readonly Pick<Usage, "percentage">[]): number {
  return Math.max(0, ...usage.map(({ percentage }) => percentage));
}

export function belowZero(metric: string, amount: number): InnkeepError {
  const message = `The usage of ${metric} is less than ${-amount}, and usage cannot be negative. Nothing was changed.`;
  return new InnkeepError("usage_below_zero", message);
}

export const INEXACT = { message: "must give a sum of at most 2^53 - 1 that a double represents exactly", code: "inexact_sum" };

/** A counter's value after adding a negative amount. Throws `usage_below_zero`, and `validation_failed` if the sum is not exact. */
export function lowered(metric: string, current: number, amount: number): number {
  const rest = plus(current, amount);
  if (rest < 0) throw belowZero(metric, amount);
  if (plus(rest, -current) !== amount) throw errors.validation([{ path: "/amount", ...INEXACT }]);
  return rest;
}
