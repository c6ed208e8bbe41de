import { QUANTITY_DECIMALS } from "../../core/values.ts";
import { periodEnd } from "../../core/periods.ts";
import type { Metric } from "../metrics/entity.ts";
import { LIMITS_WITHOUT_METRIC, type Plan } from "../plans/entity.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { UsageRecord } from "./entity.ts";

/** A limit of null is unlimited; a limit of 0 allows nothing. */

/** How much there is, and how much there may be. */
export type Level = Pick<UsageRecord, "current" | "limit">;

/** A usage record as callers see it: with what follows from it and from its metric. */
export type Usage = UsageRecord & Pick<Metric, "unit" | "kind"> & {
  /** 0–100, rounded; 100 when over, 0 when unlimited. */
  readonly percentage: number;
  /** First instant of the next period; null for a gauge, which carries over. */
  readonly resetsAt: string | null;
  /** Null: nothing was recorded for it in this period. */
  readonly version: string | null;
};

/** The metric of a usage record, as it was read. */
export type SeenMetric = Pick<Metric, "unit" | "kind" | "createdAt" | "updatedAt"> & { readonly version: string };

export function viewOf(record: UsageRecord, metric: SeenMetric, recordVersion: string | null): Usage {
  const { unit, kind } = metric;
  const resetsAt = kind === "counter" ? periodEnd(record.period) : null;
  const version = recordVersion === null ? null : recordVersion + versionSuffix(metric);
  return { ...record, unit, kind, percentage: usagePercentage(record.current, record.limit), resetsAt, version };
}

/** `unit` is the metric's: a representation that shows another one must have another ETag (RFC 9110 §8.8.1). */
export function versionSuffix({ createdAt, updatedAt, version }: SeenMetric): string {
  return updatedAt === undefined || updatedAt === createdAt ? "" : `-${version}`;
}

export function limitOf(limits: Plan["limits"], metric: string): number | null {
  return Object.hasOwn(limits, metric) ? limits[metric] ?? null : null;
}

/** The metrics a plan names: what it does not name is unlimited and begins with its first use. */
export function limitedMetrics(limits: Plan["limits"]): string[] {
  return Object.keys(limits).filter((name) => !LIMITS_WITHOUT_METRIC.has(name));
}

/** 0–100, rounded; 100 when over, 0 when unlimited. 999 of 1000 rounds to 100 and is not over: ask {@link isOverLimit}. */
export function usagePercentage(current: number, limit: number | null): number {
  if (limit === null) return 0;
  if (current >= limit) return 100;
  return Math.round((current / limit) * 100);
}

/** Full counts as over: the next one does not fit. */
export function isOverLimit(current: number, limit: number | null): boolean {
  return limit !== null && current >= limit;
}

export interface AmountCheck {
  readonly allowed: boolean;
  /** What still fits before this amount; null when unlimited. */
  readonly remaining: number | null;
}

/** Whether `amount` more fits: using the limit up to the last unit is allowed. */
export function checkAmount(current: number, limit: number | null, amount: number): AmountCheck {
  if (limit === null) return { allowed: true, remaining: null };
  return { allowed: plus(current, amount) <= limit, remaining: Math.max(0, plus(limit, -current)) };
}

/** Percentages whose crossing is worth telling at once. */
const THRESHOLDS = [80, 100] as const;

/** How many thresholds are reached, not rounded: 79.9 % reaches none. */
export function thresholdsReached({ current, limit }: Level): number {
  return limit === null ? 0 : THRESHOLDS.filter((threshold) => current >= (limit * threshold) / 100).length;
}

/** A sum in the decimals quantities have: 0.1 + 0.2 is 0.3. */
export function plus(a: number, b: number): number {
  return Number((a + b).toFixed(QUANTITY_DECIMALS));
}

/** The record with another total. A counter's day takes the difference, so that its days still add up to the total. */
export function corrected(record: UsageRecord, current: number, day: string): UsageRecord {
  const daily = { ...record.daily, [day]: plus(record.daily[day] ?? 0, plus(current, -record.current)) };
  return { ...record, current, daily };
}

/** What a tenant's page shows of all its metrics. */
export function highestPercentage(usage: readonly Pick<Usage, "percentage">[]): number {
  return Math.max(0, ...usage.map(({ percentage }) => percentage));
}

export function belowZero(metric: string, amount: number): InnkeepError {
  const message = `The usage of ${metric} is less than ${-amount}, and usage cannot be negative. Nothing was changed.`;
  return new InnkeepError("usage_below_zero", message);
}

export const INEXACT = { message: "must give a sum of at most 2^53 - 1 that a double represents exactly", code: "inexact_sum" };

/** A counter with so much taken off it. Throws `usage_below_zero`, `validation_failed` where the difference has too many digits. */
export function lowered(metric: string, current: number, amount: number): number {
  const rest = plus(current, amount);
  if (rest < 0) throw belowZero(metric, amount);
  if (plus(rest, -current) !== amount) throw errors.validation([{ path: "/amount", ...INEXACT }]);
  return rest;
}
