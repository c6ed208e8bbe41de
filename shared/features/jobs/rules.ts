import type { Backlog, Job, JobStep } from "../../core/job.ts";
import { isoTime } from "../../kernel/clock.ts";
import { isInnkeepError } from "../../kernel/errors.ts";
import type { DeadLetter, Schedule } from "./entity.ts";

/** Longer than an Edge Function can run (150 s): a lease that ended belongs to a run that was killed. */
export const LEASE_MS = 180_000;
/** Clocks of processes may differ by this much. */
const SKEW_MS = 5 * 60_000;
/** What a job may be late, besides its interval, before it is overdue. */
const OVERDUE_SECONDS = 15 * 60;
/** Attempts at an item before it is a dead letter. */
export const MAX_ATTEMPTS = 8;
const BACKOFF_MS = 30_000;
/** The longest delay after a failure that is not counted. */
const UNCOUNTED_MS = 60_000;
const MAX_BACKOFF_MS = 6 * 3_600_000;
const MAX_MESSAGE = 1_000;

type Timing = Pick<Job, "name" | "everySeconds" | "overdueAfterSeconds">;

/** The schedule of a job that has never run: it is due. */
export function firstSchedule({ name }: Pick<Job, "name">, now: string): Schedule {
  return { job: name, dueAt: now, nextRunAt: now, processed: 0, failures: 0, createdAt: now };
}

/** Whether a process runs the job. A lease that ends later than any process could have set it does not count: see `isDue`. */
export function isLeased({ leaseId, dueAt }: Schedule, nowMs: number): boolean {
  return leaseId !== undefined && dueAt > isoTime(nowMs) && dueAt <= isoTime(nowMs + LEASE_MS + SKEW_MS);
}

/** Due at its time, and also if that is further away than any process could have set it: then the clock was set back meanwhile. */
export function isDue(schedule: Schedule, job: Timing, nowMs: number): boolean {
  return schedule.dueAt <= isoTime(nowMs) || isBeyondReach(schedule, job, nowMs);
}

export function isBeyondReach({ dueAt, leaseId, failures }: Schedule, { everySeconds }: Timing, nowMs: number): boolean {
  const reachMs = leaseId !== undefined ? LEASE_MS : failures > 0 ? MAX_BACKOFF_MS : everySeconds * 1_000;
  return dueAt > isoTime(nowMs + reachMs + SKEW_MS);
}

/** The schedule with a new lease, as `begun`. */
export function leased<S extends Schedule>(schedule: S, leaseId: string, nowMs: number): S {
  return { ...begun(schedule, nowMs), leaseId, dueAt: isoTime(nowMs + LEASE_MS) };
}

/** A claimed schedule: a run begins, or continues at the cursor of one that was paused, failed or killed. */
function begun<S extends Schedule>(schedule: S, nowMs: number): S {
  const now = isoTime(nowMs);
  return schedule.cursor === undefined ? { ...schedule, startedAt: now, processed: 0 } : { startedAt: now, ...schedule };
}

/** The run goes on at the cursor, with a renewed lease. */
export function progressed(schedule: Schedule, { cursor, processed }: JobStep, nowMs: number): Schedule {
  const at = cursor as NonNullable<Schedule["cursor"]>;
  return { ...schedule, cursor: at, processed: schedule.processed + processed, dueAt: isoTime(nowMs + LEASE_MS) };
}

/** The budget of the call is spent: the run continues with the next call. One that has not begun keeps its place before others. */
export function paused(schedule: Schedule, backlog: Backlog | null, nowMs: number): Schedule {
  const { leaseId: _, waitingSince: _since, ...rest } = schedule;
  const dueAt = schedule.cursor === undefined && schedule.nextRunAt < isoTime(nowMs) ? schedule.nextRunAt : isoTime(nowMs);
  return { ...rest, ...leftBy(backlog, nowMs), dueAt } as Schedule;
}

/** After the last step. Runs that were missed while no scheduler called are not made up for: the next one is in the future. */
export function completed(schedule: Schedule, processed: number, backlog: Backlog | null, job: Timing, nowMs: number): Schedule {
  const {
    leaseId: _,
    cursor: _cursor,
    lastError: _error,
    waitingSince: _since,
    startedAt = isoTime(nowMs),
    ...rest
  } = schedule;
  const next = nextRunAt(schedule.nextRunAt, job, nowMs);
  return {
    ...rest,
    ...leftBy(backlog, nowMs),
    processed: 0,
    failures: 0,
    nextRunAt: next,
    dueAt: next,
    lastStartedAt: startedAt,
    lastFinishedAt: isoTime(nowMs),
    lastDurationMs: Math.max(0, nowMs - Date.parse(startedAt)),
    lastProcessed: schedule.processed + processed,
  } as Schedule;
}

/**
 * After a step that failed as a whole. It is repeated from its cursor with backoff, and after every eighth failure from the beginning:
 * a cursor that no step can read, such as one of another version of the program, must not stop the job for good.
 */
export function failed(schedule: Schedule, error: unknown, random: number, nowMs: number): Schedule {
  const { leaseId: _, cursor, startedAt = isoTime(nowMs), ...rest } = schedule;
  return {
    ...rest,
    ...(cursor === undefined || (schedule.failures + 1) % MAX_ATTEMPTS === 0 ? {} : { cursor }),
    startedAt,
    failures: schedule.failures + 1,
    dueAt: isoTime(nowMs + backoffMs(schedule.failures + 1, random)),
    lastStartedAt: startedAt,
    lastFinishedAt: isoTime(nowMs),
    lastDurationMs: Math.max(0, nowMs - Date.parse(startedAt)),
    lastError: errorOf(error),
  } as Schedule;
}

function leftBy(backlog: Backlog | null, nowMs: number): Pick<Schedule, "waitingSince"> {
  const at = backlog?.oldestAt ?? null;
  return at !== null && at <= isoTime(nowMs) ? { waitingSince: at } : {};
}

/** How long the job has been late: since the time of its run, or since its oldest waiting item was due. */
export function ageMs({ nextRunAt, waitingSince = nextRunAt }: Pick<Schedule, "nextRunAt" | "waitingSince">, nowMs: number): number {
  return Math.max(0, nowMs - Math.min(Date.parse(nextRunAt), Date.parse(waitingSince)));
}

/** The age from which on the job is overdue. */
export function overdueSeconds({ everySeconds, overdueAfterSeconds = everySeconds + OVERDUE_SECONDS }: Timing): number {
  return overdueAfterSeconds;
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

/** The record of an item's failure: its next attempt, or a dead letter after the last one. An uncounted failure is no attempt. */
export function failedItem<L extends Pick<DeadLetter, "attempts">>(
  letter: L,
  error: unknown,
  random: number,
  nowMs: number,
  isCounted = true,
) {
  const { nextAttemptAt: _, ...rest } = letter as L & Pick<DeadLetter, "nextAttemptAt">;
  if (!isCounted) {
    const nextAttemptAt = isoTime(nowMs + UNCOUNTED_MS * (1 + random) / 2);
    return { ...rest, error: errorOf(error), status: "retrying" as const, nextAttemptAt };
  }
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

/** An unexpected error shows its name only: its message may contain data. */
export function errorOf(error: unknown): { readonly code: string; readonly message: string } {
  if (isInnkeepError(error)) return { code: error.code, message: error.message.slice(0, MAX_MESSAGE) };
  return { code: "internal", message: error instanceof Error ? error.name : "An unexpected value was thrown." };
}
