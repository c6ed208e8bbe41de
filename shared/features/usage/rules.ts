import { METRICS } from "./entity.ts";
import type { Metric } from "./entity.ts";
import type { Plan } from "../plans/entity.ts";

/** A limit of null is unlimited; a limit of 0 allows nothing. */

export const USAGE_METRICS: readonly Metric[] = METRICS;

export function isUsageMetric(value: string): value is Metric {
  return USAGE_METRICS.includes(value as Metric);
}

export function limitOf(limits: Plan["limits"], metric: Metric): number | null {
  return limits[metric] ?? null;
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
  return { allowed: current + amount <= limit, remaining: Math.max(0, limit - current) };
}
