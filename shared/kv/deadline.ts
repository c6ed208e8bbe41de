/** An instant in milliseconds on the monotonic clock of `performance.now()`, which changes of the system time do not affect. */
export type Deadline = number;

export const DEFAULT_TIMEOUT_MS = 15_000;
/** The timeout of a readiness probe, which runs every few seconds. */
export const PING_TIMEOUT_MS = 2_000;

/** The deadline `timeoutMs` from now. */
export function deadlineIn(timeoutMs: number): Deadline {
  return performance.now() + timeoutMs;
}

/** Whole milliseconds until the deadline, rounded up so that a timer does not fire before it. 0 if it has passed. */
export function remainingMs(deadline: Deadline): number {
  return Math.max(0, Math.ceil(deadline - performance.now()));
}
