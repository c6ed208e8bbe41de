import { periodEnd, periodOf, periodStart } from "../../core/periods.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { isReached, type Level, wholePercentage } from "../usage/rules.ts";
import type { Alert } from "./entity.ts";

/** The usage of a metric that alerts are decided on, with the metric's thresholds. */
export interface Watched extends Level {
  readonly metric: string;
  readonly thresholds: readonly number[];
}

/** An alert before and after. `before` is null for a new one. */
export interface AlertMove<A extends Alert = Alert> {
  readonly before: A | null;
  readonly after: Alert;
  readonly events: readonly AlertEvent[];
}
export type AlertEvent = "usage.alert" | "usage.alert.resolved";

/**
 * A month as alerts see it. `closing` is the month before the current one: a threshold that was reached in it is still reported.
 * In earlier and later months, nothing triggers an alert.
 */
export type Phase = "ahead" | "current" | "closing" | "past";

export function phaseOf(period: string, nowMs: number): Phase {
  const current = periodOf(nowMs);
  if (period >= current) return period === current ? "current" : "ahead";
  return period === periodOf(Date.parse(periodStart(current)) - 1) ? "closing" : "past";
}

/** The part of an alert's id that all alerts of a month share: the prefix of ids, and the month's first instant. */
export function idPrefix(period: string): string {
  return `alert_${Date.parse(periodStart(period))}_`;
}

/** An alert's id follows from what it is about, so that two writers cannot make the same alert twice. */
export async function alertId({ metric, period, threshold }: Pick<Alert, "metric" | "period" | "threshold">): Promise<string> {
  const digest = BigInt(`0x${await sha256Hex(`${metric}:${period}:${threshold}`)}`);
  return idPrefix(period) + digest.toString(36).slice(-12);
}

/** What {@link alertMoves} decides on. `ids` has an id for every threshold that is reached. */
export interface Observed<A extends Alert> {
  readonly tenantId: string;
  readonly period: string;
  readonly watched: readonly Watched[];
  /** The alerts of the tenant and month. */
  readonly alerts: readonly A[];
  readonly ids: ReadonlyMap<string, string>;
  readonly nowMs: number;
  readonly now: string;
}

/** The name of a threshold of a metric, by which an alert is found. */
export function nameOf({ metric, threshold }: Pick<Alert, "metric" | "threshold">): string {
  return `${metric}:${threshold}`;
}

/** The thresholds that are reached. Without a limit, or without usage, there are none. */
export function reachedOf(watched: readonly Watched[]): { readonly metric: string; readonly threshold: number }[] {
  return watched.flatMap((each) =>
    each.thresholds.filter((threshold) => isReached(each, threshold)).map((threshold) => ({ metric: each.metric, threshold }))
  );
}

/** The alerts that change. The event `usage.alert` is sent once for each alert, however often usage falls and rises. */
export function alertMoves<A extends Alert>(observed: Observed<A>): AlertMove<A>[] {
  const { period, watched, alerts, nowMs } = observed;
  const phase = phaseOf(period, nowMs);
  const reached = reachedOf(watched);
  const known = new Map(alerts.map((alert) => [nameOf(alert), alert]));
  const isUp = new Set(reached.map(nameOf));
  const created = phase === "current" || phase === "closing" ? reached.filter((each) => !known.has(nameOf(each))) : [];
  return [
    ...created.map((each) => first(observed, each, phase === "current")),
    ...alerts.flatMap((alert) => moved(alert, isUp.has(nameOf(alert)), phase, observed.now) ?? []),
  ];
}

/** A new alert. In a month that is over it is resolved at once, and both events are sent. */
function first<A extends Alert>(
  { tenantId, period, ids, now }: Observed<A>,
  { metric, threshold }: { readonly metric: string; readonly threshold: number },
  isOpen: boolean,
): AlertMove<A> {
  const id = ids.get(nameOf({ metric, threshold })) ?? "";
  const base = { id, tenantId, metric, period, threshold, triggeredAt: now, notified: true };
  return {
    before: null,
    after: isOpen
      ? { ...base, triggered: true, openUntil: periodEnd(period) }
      : { ...base, triggered: false, resolvedAt: now, resolution: "period_ended" },
    events: isOpen ? ["usage.alert"] : ["usage.alert", "usage.alert.resolved"],
  };
}

function moved<A extends Alert>(before: A, isUp: boolean, phase: Phase, now: string): AlertMove<A> | null {
  const isOver = phase === "closing" || phase === "past";
  if (before.triggered) {
    if (isUp && !isOver) return null;
    return { before, after: resolved(before, isOver ? "period_ended" : "below", now), events: ["usage.alert.resolved"] };
  }
  const byCaller = before.resolution === "caller";
  if (isOver || isUp === byCaller) return null;
  // From now on, reaching the threshold again triggers what a caller had resolved.
  if (!isUp) return { before, after: { ...plain(before), resolution: "below" }, events: [] };
  const { resolvedAt: _at, resolution: _why, ...rest } = plain(before);
  return { before, after: { ...rest, triggered: true, triggeredAt: now, openUntil: periodEnd(before.period) } as Alert, events: [] };
}

/** The alert as resolved at the instant. */
export function resolved(alert: Alert, resolution: NonNullable<Alert["resolution"]>, now: string): Alert {
  const { openUntil: _, ...rest } = plain(alert);
  return { ...rest, triggered: false, resolvedAt: now, resolution } as Alert;
}

function plain(alert: Alert): Alert {
  const { version: _, ...record } = alert as Alert & { readonly version?: string };
  return record as Alert;
}

/** What receivers of events need besides the alert. The percentage is not capped: 210 of 100 is 210. */
export function eventDataOf({ tenantId, metric, period, threshold }: Alert, { current, limit }: Level): JsonObject {
  return { tenantId, metric, period, threshold, current, limit, percentage: limit === null ? 0 : wholePercentage(current, limit) };
}
