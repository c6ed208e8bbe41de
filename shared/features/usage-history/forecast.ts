import { addDays, dayOf, periodEnd, periodOf, periodStart } from "../../core/periods.ts";
import { isoTime } from "../../kernel/clock.ts";
import { QUANTITY_DECIMALS } from "../../core/values.ts";
import type { Metric } from "../metrics/entity.ts";
import type { UsageRecord } from "../usage/entity.ts";

const DAY_MS = 86_400_000;
/** The days before today that a forecast looks at. */
export const RECENT_DAYS = 28;
/** A gauge that reaches its limit later is not said to reach it. */
const MAX_DAYS_AHEAD = 366;

export interface Forecast {
  /** At the end of the month, if usage goes on as it did. */
  readonly projected: number;
  /** Of the limit, not capped; 0 without a limit. */
  readonly projectedPercentage: number;
  readonly exhaustsAt: string | null;
  readonly basis: { readonly method: "daily_average" | "linear_trend"; readonly days: number; readonly dailyRate: number };
}

type Recorded = Pick<UsageRecord, "current" | "limit" | "daily" | "createdAt">;

/**
 * Projects the present month from its record and that of the month before. A counter goes on with its average day: the days of this month
 * and the 28 days before today together, so that the days of this month count twice. A gauge goes on along the line that fits its levels
 * of the last 28 days best (least squares).
 */
export function forecastOf(kind: Metric["kind"], record: Recorded, previous: Recorded | null, nowMs: number): Forecast {
  const daily = { ...previous?.daily, ...record.daily };
  const began = [previous?.createdAt ?? record.createdAt, record.createdAt].sort()[0] ?? record.createdAt;
  const days = recentDays(nowMs).filter((day) => day >= began.slice(0, 10));
  return kind === "counter" ? ofCounter(record, daily, days, nowMs) : ofGauge(record, daily, days, nowMs);
}

/** The whole days before today, the oldest first. */
function recentDays(nowMs: number): string[] {
  const today = `${dayOf(nowMs)}T00:00:00.000Z`;
  return Array.from({ length: RECENT_DAYS }, (_, n) => addDays(today, n - RECENT_DAYS).slice(0, 10));
}

function ofCounter({ current, limit, createdAt }: Recorded, daily: UsageRecord["daily"], days: readonly string[], nowMs: number): Forecast {
  const period = periodOf(nowMs);
  const began = Math.max(Date.parse(periodStart(period)), days.length === 0 ? Date.parse(createdAt) : 0);
  const elapsed = Math.max(0, (nowMs - began) / DAY_MS);
  const recent = days.reduce((sum, day) => sum + (daily[day] ?? 0), 0);
  // Less than a day is no average: the first minutes of a new tenant would be taken for all of its month.
  const dailyRate = Math.max(0, (current + recent) / Math.max(1, elapsed + days.length));
  const endMs = Date.parse(periodEnd(period));
  const at = reachedAt(current, limit, dailyRate, nowMs);
  return {
    ...projection(current + dailyRate * (endMs - nowMs) / DAY_MS, limit),
    // A counter begins again with the next month.
    exhaustsAt: at !== null && at < endMs ? isoTime(at) : null,
    basis: { method: "daily_average", days: days.length + Math.ceil(elapsed), dailyRate: rounded(dailyRate) },
  };
}

function ofGauge(
  { current, limit }: Recorded,
  daily: UsageRecord["daily"],
  days: readonly string[],
  nowMs: number,
): Forecast {
  let level = levelBefore(daily, days[0], current);
  const levels = days.map((day) => level = daily[day] ?? level);
  const dailyRate = slopeOf([...levels, current]);
  const left = (Date.parse(periodEnd(periodOf(nowMs))) - nowMs) / DAY_MS;
  const at = reachedAt(current, limit, dailyRate, nowMs);
  return {
    ...projection(Math.max(0, current + dailyRate * left), limit),
    exhaustsAt: at !== null && at <= nowMs + MAX_DAYS_AHEAD * DAY_MS ? isoTime(at) : null,
    basis: { method: "linear_trend", days: levels.length + 1, dailyRate: rounded(dailyRate) },
  };
}

/** The level before a day: of the last day recorded earlier, else of the first one that is recorded. */
function levelBefore(daily: UsageRecord["daily"], day: string | undefined, otherwise: number): number {
  const known = Object.keys(daily).sort();
  const nearest = known.findLast((one) => day !== undefined && one < day) ?? known[0];
  return nearest === undefined ? otherwise : daily[nearest] ?? otherwise;
}

/** The slope of the line of least squares through equally distant levels. */
function slopeOf(levels: readonly number[]): number {
  const middle = (levels.length - 1) / 2;
  const mean = levels.reduce((sum, level) => sum + level, 0) / levels.length;
  const spread = levels.reduce((sum, _, x) => sum + (x - middle) ** 2, 0);
  return spread === 0 ? 0 : levels.reduce((sum, level, x) => sum + (x - middle) * (level - mean), 0) / spread;
}

/** When the limit is reached; now if it is already. Null if it never is. */
function reachedAt(current: number, limit: number | null, dailyRate: number, nowMs: number): number | null {
  if (limit === null) return null;
  if (current >= limit) return nowMs;
  const at = dailyRate > 0 ? nowMs + (limit - current) / dailyRate * DAY_MS : Infinity;
  return Number.isFinite(at) && at < Date.parse("9999-01-01T00:00:00.000Z") ? Math.ceil(at) : null;
}

function projection(amount: number, limit: number | null) {
  const projected = rounded(amount);
  return { projected, projectedPercentage: limit === null ? 0 : percentageOf(projected, limit) };
}

function percentageOf(projected: number, limit: number): number {
  return limit === 0 ? 100 : Math.min(Number.MAX_SAFE_INTEGER, Math.round(projected / limit * 100));
}

function rounded(amount: number): number {
  return Number(amount.toFixed(QUANTITY_DECIMALS));
}
