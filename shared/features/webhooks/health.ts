import { isoTime } from "../../kernel/clock.ts";
import type { Webhook } from "./entity.ts";
import type { Attempted } from "./schedule.ts";

/** The first pause after an attempt without a response. Each further one is twice as long. */
const PAUSE_SECONDS = 5;
const MAX_PAUSE_SECONDS = 300;
/** How long every attempt of an endpoint must fail before it is disabled. */
export const FAILING_MS = 5 * 86_400_000;
/** Between failures further apart nothing is known about the endpoint: it counts as failing from the later one on. */
const QUIET_MS = 48 * 3_600_000;
/** A success after a longer time of failures is announced. */
const RECOVERY_MS = 60_000;

/** The attempts of one endpoint since its record was last written. */
export interface Tally {
  /** The instant of the last success. */
  readonly successAt: string | null;
  /** Failures since the last success. */
  readonly failures: number;
  readonly firstFailureAt: string | null;
  readonly lastAt: string | null;
  readonly lastStatus: "success" | "failed";
  /** Whether the last attempts had no response. */
  readonly unreachable: boolean;
  /** Before this instant the receiver wants no request. */
  readonly busyUntil: string | null;
  readonly gone: boolean;
}

export const NO_ATTEMPTS: Tally = {
  successAt: null,
  failures: 0,
  firstFailureAt: null,
  lastAt: null,
  lastStatus: "success",
  unreachable: false,
  busyUntil: null,
  gone: false,
};

/** Adds an attempt that ended at `nowMs`. */
export function withAttempt(tally: Tally, { outcome, retryAfterMs = 0 }: Attempted, nowMs: number): Tally {
  const now = isoTime(nowMs);
  if (outcome === "success") return { ...NO_ATTEMPTS, successAt: now, lastAt: now, gone: tally.gone };
  const busyUntil = outcome === "busy" && retryAfterMs > 0 ? isoTime(nowMs + retryAfterMs) : null;
  return {
    ...tally,
    failures: tally.failures + 1,
    firstFailureAt: tally.firstFailureAt ?? now,
    lastAt: now,
    lastStatus: "failed",
    unreachable: tally.unreachable || outcome === "unreachable",
    busyUntil: latest(tally.busyUntil, busyUntil),
    gone: tally.gone || outcome === "gone",
  };
}

/** Whether no further request may begin until the endpoint's record has been written. */
export function isStopped({ unreachable, busyUntil, gone }: Tally): boolean {
  return unreachable || busyUntil !== null || gone;
}

/** Whether events are sent to it. */
export function isActive({ enabled, status }: Pick<Webhook, "enabled" | "status">): boolean {
  return enabled && status === "active";
}

/** Whether nothing is sent to it yet, because of a pause or of a request that an earlier run began. */
export function isHeld({ pausedUntil }: Pick<Webhook, "pausedUntil">, now: string): boolean {
  return pausedUntil !== undefined && pausedUntil > now;
}

/** What an endpoint has become, if its owner should know. */
export type Turn = "failing" | "gone" | "recovered";

/**
 * The endpoint after attempts. `nextDueAt` is the instant of its next delivery. An endpoint without responses is paused: its
 * deliveries wait, and the next attempt after the pause is a single one.
 */
export function settled<W extends Webhook>(
  before: W,
  tally: Tally,
  nextDueAt: string | null,
  nowMs: number,
): { readonly after: W; readonly turn: Turn | null } {
  const kept = withFailures(before, tally);
  const paused = withPause(kept, tally, nowMs);
  const turn = turnOf(before, kept, tally, nowMs);
  if (turn !== "failing" && turn !== "gone") return { after: { ...paused, dueAt: latestDue(nextDueAt, paused) } as W, turn };
  const { pausedUntil: _, pauseSeconds: _seconds, ...rest } = paused;
  const stopped = {
    enabled: false,
    revision: before.revision + 1,
    status: turn === "gone" ? "disabled" : "failed",
    disabledReason: turn,
    disabledAt: isoTime(nowMs),
    // Its waiting deliveries become failed ones.
    dueAt: nextDueAt === null ? null : isoTime(nowMs),
  };
  return { after: { ...rest, ...stopped } as unknown as W, turn };
}

function withFailures<W extends Webhook>(before: W, { successAt, failures, firstFailureAt, lastAt, lastStatus }: Tally): W {
  if (lastAt === null) return before;
  const counted = { ...before, lastDeliveryAt: lastAt, lastDeliveryStatus: lastStatus };
  if (failures === 0) return { ...counted, failureCount: 0, failingSince: null };
  const isNew = successAt !== null || before.failingSince === null || isQuiet(before, firstFailureAt);
  return {
    ...counted,
    failureCount: (successAt === null ? before.failureCount : 0) + failures,
    failingSince: isNew ? firstFailureAt : before.failingSince,
  };
}

function isQuiet({ lastDeliveryAt }: Webhook, firstFailureAt: string | null): boolean {
  return lastDeliveryAt !== undefined && firstFailureAt !== null && Date.parse(firstFailureAt) - Date.parse(lastDeliveryAt) > QUIET_MS;
}

/** A pause ends with a success, and is not shortened by an attempt that fails in another way. */
function withPause<W extends Webhook>(before: W, { lastAt, failures, unreachable, busyUntil }: Tally, nowMs: number): W {
  if (lastAt === null) return before;
  const { pausedUntil: _, pauseSeconds: _seconds, ...rest } = before;
  if (failures === 0) return rest as unknown as W;
  const pauseSeconds = unreachable ? Math.min(MAX_PAUSE_SECONDS, 2 * (before.pauseSeconds ?? PAUSE_SECONDS / 2)) : before.pauseSeconds;
  const pausedUntil = latest(busyUntil, unreachable && pauseSeconds !== undefined ? isoTime(nowMs + pauseSeconds * 1_000) : null);
  return {
    ...rest,
    ...(pauseSeconds === undefined ? {} : { pauseSeconds }),
    ...(pausedUntil === null ? {} : { pausedUntil }),
  } as unknown as W;
}

function turnOf(before: Webhook, { failingSince }: Webhook, { gone, successAt, failures, lastAt }: Tally, nowMs: number): Turn | null {
  if (lastAt === null || !isActive(before)) return null;
  if (gone) return "gone";
  if (failures > 0 && failingSince !== null && nowMs - Date.parse(failingSince) >= FAILING_MS) return "failing";
  if (successAt === null) return null;
  // Failed last, but not failing: it was enabled again since.
  if (before.failingSince === null) return before.lastDeliveryStatus === "failed" ? "recovered" : null;
  return Date.parse(successAt) - Date.parse(before.failingSince) > RECOVERY_MS ? "recovered" : null;
}

/** When the endpoint is looked at again: its next delivery, but not during a pause. */
function latestDue(nextDueAt: string | null, { pausedUntil }: Webhook): string | null {
  return nextDueAt === null ? null : latest(nextDueAt, pausedUntil ?? null);
}

function latest(a: string | null, b: string | null): string | null {
  return a === null || b === null ? a ?? b : a > b ? a : b;
}
