import canonicalize from "canonicalize";
import { dayOf, isClosed, periodOf } from "../../core/periods.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors, type FieldError } from "../../kernel/errors.ts";
import type { Addition } from "../../kv/store.ts";
import type { Metric } from "../metrics/entity.ts";
import { INEXACT, plus } from "../usage/rules.ts";
import type { ReceivedEvent } from "./cloud-event.ts";
import type { UsageEvent, UsageGroups } from "./entity.ts";

/** The clocks of senders may be ahead by this much. */
export const MAX_AHEAD_MS = 5 * 60_000;
/** Shorter than the retention of events, so that a repeat of a deleted event is refused and not counted again. */
export const MAX_AGE_DAYS = 366;
/** The maximum number of values of one dimension in a month. */
export const MAX_GROUPS = 200;
const DAY_MS = 86_400_000;

/** Where an event is counted. */
export interface Booking {
  readonly time: string;
  readonly period: string;
  readonly day: string;
  readonly hour: string;
  /** The closed month in which the usage happened. */
  readonly adjusts?: string;
  /** Whether the event is stored and changes nothing: it is of a gauge, whose month is closed. */
  readonly isFinal?: true;
}

/**
 * An event is counted in the month of its time. If that month is closed, the amount of a counter is counted at the present instant, as
 * an adjustment. A gauge has no adjustments: its level of a closed month stays.
 */
export function bookingOf(event: Pick<ReceivedEvent, "time">, kind: Metric["kind"], nowMs: number): Booking | FieldError {
  const time = event.time ?? isoTime(nowMs);
  const timeMs = Date.parse(time);
  const refused = (message: string, code: string) => ({ path: "/time", message, code });
  if (timeMs > nowMs + MAX_AHEAD_MS) return refused(`must be at most ${MAX_AHEAD_MS / 60_000} minutes in the future`, "in_future");
  if (timeMs < nowMs - MAX_AGE_DAYS * DAY_MS) return refused(`must be at most ${MAX_AGE_DAYS} days ago`, "too_old");
  const own = periodOf(timeMs);
  if (!isClosed(own, nowMs)) return { time, ...placeIn(timeMs) };
  if (kind === "gauge") return { time, ...placeIn(timeMs), isFinal: true };
  return { time, ...placeIn(nowMs), adjusts: own };
}

/** The month, day and hour of an instant. */
export function placeIn(epochMs: number) {
  return { period: periodOf(epochMs), day: dayOf(epochMs), hour: isoTime(epochMs).slice(0, 13) };
}

/** What is wrong with the data of an event, for its metric. Null if nothing is. */
export function dataFault(
  { amount, dimensions = {} }: ReceivedEvent["data"],
  metric: Pick<Metric, "kind" | "dimensions">,
): FieldError | null {
  if (metric.kind === "gauge" && amount === undefined) {
    return { path: "/data/amount", message: "is required for a gauge, which is set to it", code: "invalid_type" };
  }
  const unknown = Object.keys(dimensions).find((name) => !metric.dimensions?.includes(name));
  if (unknown === undefined) return null;
  const known = metric.dimensions?.length ? `has only the dimensions ${metric.dimensions.join(", ")}` : "has no dimensions";
  return { path: "/data/dimensions", message: `must have only dimensions of the metric, which ${known}`, code: "unknown_dimension" };
}

type Payload = Pick<UsageEvent, "dimensions" | "userId" | "properties"> & { readonly amount?: number | undefined };

/** Whether a stored event is this one. The extension attributes may differ, as they do when a sender traces its attempts. */
export function isRepeat(stored: UsageEvent, { type, subject, time, data }: ReceivedEvent): boolean {
  if (stored.metric !== type || stored.tenantId !== subject || stored.time !== (time ?? stored.receivedAt)) return false;
  return canonicalize(payloadOf(stored)) === canonicalize(payloadOf(data));
}

/** Whether two received events are the same, apart from their extension attributes. */
export function isSame(a: ReceivedEvent, b: ReceivedEvent): boolean {
  if (a.type !== b.type || a.subject !== b.subject || a.time !== b.time) return false;
  return canonicalize(payloadOf(a.data)) === canonicalize(payloadOf(b.data));
}

function payloadOf({ amount = 1, dimensions = {}, userId = null, properties = {} }: { readonly [K in keyof Payload]: Payload[K] | null }) {
  return { amount, dimensions, userId, properties };
}

/** The dimension of the event that has no room for a new value, else null. */
export function fullDimension(groups: UsageGroups["groups"], dimensions: Readonly<Record<string, string>>): string | null {
  const isFull = ([name, value]: [string, string]) => {
    const known = groups[name] ?? {};
    return !Object.hasOwn(known, value) && Object.keys(known).length >= MAX_GROUPS;
  };
  return Object.entries(dimensions).find(isFull)?.[0] ?? null;
}

/** The groups with an amount added. */
export function grouped(
  groups: UsageGroups["groups"],
  dimensions: Readonly<Record<string, string>>,
  amount: number,
): UsageGroups["groups"] {
  const added = Object.entries(dimensions).map(([name, value]) => [
    name,
    { ...groups[name], [value]: plus(groups[name]?.[value] ?? 0, amount) },
  ]);
  return { ...groups, ...Object.fromEntries(added) };
}

function exactSum(sum: number, by: number): number {
  const next = plus(sum, by);
  if (plus(next, -sum) !== by) throw errors.validation([{ path: "/data/amount", ...INEXACT }]);
  return next;
}

/** Sums by path, in the order of their first amounts: one commit changes each record once. */
export class Sums {
  readonly #amounts = new Map<string, { readonly path: readonly string[]; by: number }>();

  /** Throws `validation_failed` if a double does not represent the sum: rounding it would lose the amount. */
  add(path: readonly string[], by: number): void {
    const name = JSON.stringify(path);
    const known = this.#amounts.get(name);
    if (known) known.by = exactSum(known.by, by);
    else this.#amounts.set(name, { path, by });
  }

  additions(bounds: { readonly min?: number } = {}): Addition[] {
    return [...this.#amounts.values()].map(({ path, by }) => ({ path, by, ...(path[0] === "current" ? bounds : {}) }));
  }
}

/** Adds what one event counts in the usage record of its month. */
export function addEvent(sums: Sums, { day, hour, adjusts }: Booking, amount: number, hasHours: boolean): void {
  sums.add(["current"], amount);
  sums.add(["daily", day], amount);
  if (hasHours) sums.add(["hourly", hour], amount);
  if (adjusts !== undefined) sums.add(["adjustments", adjusts], amount);
}

/** What a correction of an event changes. */
export interface Correction {
  readonly counted: UsageEvent["counted"];
  readonly booking: Booking;
  readonly by: number;
}

/**
 * The event with another amount in all. The difference is counted where the event was, or in the current month as an adjustment once
 * that month is closed. Null if there is no difference.
 */
export function corrected(event: UsageEvent, to: number, nowMs: number): Correction | null {
  const by = exactSum(-Object.values(event.counted).reduce(plus, 0), to);
  if (by === 0) return null;
  const booking = correctionIn(event, nowMs);
  return { by, booking, counted: { ...event.counted, [booking.period]: plus(event.counted[booking.period] ?? 0, by) } };
}

function correctionIn({ time, period, adjusts, receivedAt }: UsageEvent, nowMs: number): Booking {
  if (isClosed(period, nowMs)) return { time, ...placeIn(nowMs), adjusts: adjusts ?? period };
  return adjusts === undefined ? { time, ...placeIn(Date.parse(time)) } : { time, ...placeIn(Date.parse(receivedAt)), adjusts };
}
