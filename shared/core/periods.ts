import { isoTime } from "../kernel/clock.ts";
import { errors } from "../kernel/errors.ts";

/**
 * Months, days and billing intervals, all in UTC. The stored form has a year of four digits. A result outside that
 * range becomes its first or last instant.
 */
const FIRST_INSTANT = "0000-01-01T00:00:00.000Z";
const LAST_INSTANT = "9999-12-31T23:59:59.999Z";

export const INTERVALS = ["daily", "weekly", "monthly", "yearly"] as const;
export type Interval = (typeof INTERVALS)[number];

/** A billing interval: `intervalCount` days, weeks, months or years. Default: 1. */
export interface Recurrence {
  readonly interval: Interval;
  readonly intervalCount?: number | undefined;
}

const DAYS = { daily: 1, weekly: 7 } as const;
const MONTHS = { monthly: 1, yearly: 12 } as const;

/** The month of an instant, `YYYY-MM`. */
export function periodOf(epochMs: number): string {
  return isoTime(epochMs).slice(0, 7);
}

/** The day of an instant, `YYYY-MM-DD`. */
export function dayOf(epochMs: number): string {
  return isoTime(epochMs).slice(0, 10);
}

/** First instant of a month: `periodStart ≤ t < periodEnd`. */
export function periodStart(period: string): string {
  return `${period}-01T00:00:00.000Z`;
}

/** First instant after a month. For 9999-12, the last instant of that month. */
export function periodEnd(period: string): string {
  return addMonths(periodStart(period), 1, 1);
}

/**
 * The same time of day, one billing interval later. If the month is too short, its last day (31 Jan → 28 Feb). `anchorDay` is the day
 * of the month on which billing began: after 28 Feb, 31 gives 31 Mar and the default gives 28 Mar.
 */
export function addInterval(iso: string, { interval, intervalCount = 1 }: Recurrence, anchorDay = dayOfMonth(iso)): string {
  return interval === "daily" || interval === "weekly"
    ? addDays(iso, DAYS[interval] * intervalCount)
    : addMonths(iso, MONTHS[interval] * intervalCount, anchorDay);
}

/** 1–31. */
export function dayOfMonth(iso: string): number {
  return Number(iso.slice(8, 10));
}

function addMonths(iso: string, count: number, anchorDay: number): string {
  const months = Number(iso.slice(0, 4)) * 12 + Number(iso.slice(5, 7)) - 1 + count;
  const year = Math.floor(months / 12);
  if (year > 9_999) return LAST_INSTANT;
  const month = months % 12;
  const day = Math.min(anchorDay, daysInMonth(year, month));
  return `${digits(year, 4)}-${digits(month + 1, 2)}-${digits(day, 2)}${iso.slice(10)}`;
}

/** Gregorian (ISO 8601); `month` counts from 0. */
function daysInMonth(year: number, month: number): number {
  if (month === 1) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return [3, 5, 8, 10].includes(month) ? 30 : 31;
}

function digits(value: number, width: number): string {
  return String(value).padStart(width, "0");
}

/** The same time of day, a number of days later. A negative number gives an earlier day. */
export function addDays(iso: string, days: number): string {
  const epochMs = Date.parse(iso) + days * 86_400_000;
  return isoTime(Math.min(Math.max(epochMs, Date.parse(FIRST_INSTANT)), Date.parse(LAST_INSTANT)));
}

const FIRST_PERIOD = "2000-01";
const LAST_PERIOD = LAST_INSTANT.slice(0, 7);
const PERIODS_AHEAD = 12;

/** The message for an invalid period of usage, else null. Valid: from 2000-01 to 12 months after the current month, at most 9999-12. */
export function periodFault(period: string, nowMs: number): string | null {
  const now = periodOf(nowMs);
  const months = Number(now.slice(0, 4)) * 12 + Number(now.slice(5)) - 1 + PERIODS_AHEAD;
  const year = Math.floor(months / 12);
  const last = year > 9_999 ? LAST_PERIOD : `${digits(year, 4)}-${digits(months % 12 + 1, 2)}`;
  const isValid = isPeriod(period) && period >= FIRST_PERIOD && period <= last;
  return isValid ? null : `must be a month from ${FIRST_PERIOD} to ${last}, such as ${now}`;
}

export function isPeriod(text: string): boolean {
  return /^\d{4}-(0[1-9]|1[0-2])$/.test(text);
}

export function nextPeriod(period: string): string {
  return periodEnd(period).slice(0, 7);
}

export function previousPeriod(period: string): string {
  return addMonths(periodStart(period), -1, 1).slice(0, 7);
}

/** How long after its end a month still takes late usage and open reservations. */
export const CLOSES_AFTER_DAYS = 3;

/** The instant from which on a month is closed. */
export function closesAt(period: string): string {
  return addDays(periodEnd(period), CLOSES_AFTER_DAYS);
}

/** Whether the month is closed: its usage is final, and only a correction changes it. */
export function isClosed(period: string, nowMs: number): boolean {
  return period < periodOf(nowMs) && nowMs >= Date.parse(closesAt(period));
}

/** Throws `validation_failed` for an invalid period of usage. `path` is its JSON Pointer in the input. */
export function assertPeriod(period: string, nowMs: number, path = "/period"): void {
  const message = periodFault(period, nowMs);
  if (message !== null) throw errors.validation([{ path, message, code: "invalid_period" }]);
}
