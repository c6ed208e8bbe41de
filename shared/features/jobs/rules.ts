import type { Job, JobStep } from "../../core/job.ts";
import { isoTime } from "../../kernel/clock.ts";
import { type InnkeepError, isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { DeadLetter, Schedule } from "./entity.ts";

/** Longer than an Edge Function can run (150 s): a lease that ended belongs to a run that was killed. */
export const LEASE_MS = 180_000;
/** Attempts at an item before it is a dead letter. */
export const MAX_ATTEMPTS = 8;
const BACKOFF_MS = 30_000;
const MAX_BACKOFF_MS = 6 * 3_600_000;
const MAX_MESSAGE = 1_000;

type Timing = Pick<Job, "name" | "everySeconds">;

/** The schedule of a job that has never run: it is due. */
export function firstSchedule({ name }: Timing, now: string): Schedule {
  return { job: name, nextRunAt: now, processed: 0, failures: 0, createdAt: now };
}

export function isLeased({ leaseUntil }: Schedule, now: string): boolean {
  return leaseUntil !== undefined && leaseUntil > now;
}

/** Due at its time, or at once to continue a run that was killed. */
export function isDue(schedule: Schedule, now: string): boolean {
  return !isLeased(schedule, now) && (schedule.nextRunAt <= now || schedule.leaseId !== undefined);
}

/** The schedule with a new lease. A run that stopped before it was complete continues at its cursor. */
export function leased(schedule: Schedule, leaseId: string, nowMs: number): Schedule {
  const now = isoTime(nowMs);
  const begun = schedule.cursor === undefined ? { startedAt: now, processed: 0 } : {};
  return { startedAt: now, ...schedule, ...begun, leaseId, leaseUntil: isoTime(nowMs + LEASE_MS) };
}

/** After a step: the run is complete, continues in this call, or with the next one if the budget is spent. */
export function after(schedule: Schedule, { cursor, processed }: JobStep, job: Timing, isSpent: boolean, nowMs: number): Schedule {
  if (cursor === null) return completed(schedule, processed, job, nowMs);
  const next = progressed(schedule, cursor, processed, nowMs);
  if (!isSpent) return next;
  const { leaseId: _, leaseUntil: _until, ...paused } = next;
  return { ...paused, nextRunAt: isoTime(nowMs) } as Schedule;
}

/** The run goes on at the cursor, with a renewed lease. */
export function progressed(schedule: Schedule, cursor: JsonObject, processed: number, nowMs: number): Schedule {
  const at = cursor as NonNullable<Schedule["cursor"]>;
  return { ...schedule, cursor: at, processed: schedule.processed + processed, leaseUntil: isoTime(nowMs + LEASE_MS) };
}

/** After the last step. Runs that were missed while no scheduler called are not made up for: the next one is in the future. */
export function completed(schedule: Schedule, processed: number, job: Timing, nowMs: number): Schedule {
  const { leaseId: _, leaseUntil: _until, cursor: _cursor, lastError: _error, startedAt = isoTime(nowMs), ...rest } = schedule;
  return {
    ...rest,
    processed: 0,
    failures: 0,
    nextRunAt: nextRunAt(schedule.nextRunAt, job, nowMs),
    lastStartedAt: startedAt,
    lastFinishedAt: isoTime(nowMs),
    lastDurationMs: Math.max(0, nowMs - Date.parse(startedAt)),
    lastProcessed: schedule.processed + processed,
  } as Schedule;
}

/** After a step that failed as a whole. It is repeated from its cursor with backoff. */
export function failed(schedule: Schedule, error: unknown, random: number, nowMs: number): Schedule {
  const { leaseId: _, leaseUntil: _until, startedAt = isoTime(nowMs), ...rest } = schedule;
  return {
    ...rest,
    startedAt,
    failures: schedule.failures + 1,
    nextRunAt: isoTime(nowMs + backoffMs(schedule.failures + 1, random)),
    lastStartedAt: startedAt,
    lastFinishedAt: isoTime(nowMs),
    lastDurationMs: Math.max(0, nowMs - Date.parse(startedAt)),
    lastError: errorOf(error),
  } as Schedule;
}

/** The next multiple of the interval after now, counted from the run that was due. */
export function nextRunAt(due: string, { everySeconds }: Timing, nowMs: number): string {
  const everyMs = everySeconds * 1_000;
  const lateMs = Math.max(0, nowMs - Date.parse(due));
  return isoTime(nowMs - lateMs % everyMs + everyMs);
}

/** Full jitter between half of the exponential delay and all of it; `random` is from 0 to 1. */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** (attempt - 1));
  return Math.round(full / 2 + random * full / 2);
}

/** Whether an item with earlier failures is handled now. */
export function isAttempted(letter: DeadLetter | null, now: string): boolean {
  return letter === null || (letter.status === "retrying" && (letter.nextAttemptAt ?? now) <= now);
}

/** The record of an item's failure: its next attempt, or a dead letter after the last one. */
export function failedItem<L extends Pick<DeadLetter, "attempts">>(letter: L, error: unknown, random: number, nowMs: number) {
  const { nextAttemptAt: _, ...rest } = letter as L & Pick<DeadLetter, "nextAttemptAt">;
  const attempts = letter.attempts + 1;
  const isDead = attempts >= MAX_ATTEMPTS;
  return {
    ...rest,
    attempts,
    error: errorOf(error),
    status: isDead ? "dead" as const : "retrying" as const,
    ...(isDead ? {} : { nextAttemptAt: isoTime(nowMs + backoffMs(attempts, random)) }),
  };
}

/** Handled again from the first attempt on. A letter that is not dead stays as it is. */
export function requeued(letter: DeadLetter, now: string): DeadLetter {
  return letter.status === "retrying" ? letter : { ...letter, status: "retrying", attempts: 0, nextAttemptAt: now };
}

/** Not handled again. */
export function dropped({ nextAttemptAt: _, ...letter }: DeadLetter): DeadLetter {
  return { ...letter, status: "dropped" } as DeadLetter;
}

/** The database is not available: the item has not failed. */
export function isOutage(error: unknown): error is InnkeepError {
  return isInnkeepError(error, "store_unavailable") || isInnkeepError(error, "commit_unknown");
}

/** An unexpected error shows its name only: its message may contain data. */
function errorOf(error: unknown): { readonly code: string; readonly message: string } {
  if (isInnkeepError(error)) return { code: error.code, message: error.message.slice(0, MAX_MESSAGE) };
  return { code: "internal", message: error instanceof Error ? error.name : "An unexpected value was thrown." };
}
