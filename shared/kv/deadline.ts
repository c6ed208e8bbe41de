/**
 * How long a caller waits. A deadline is an instant on the clock of `performance.now()`, in milliseconds:
 * it is measured, never stored, and no change of the wall clock moves it.
 */
export type Deadline = number;

export const DEFAULT_TIMEOUT_MS = 15_000;
/** A readiness probe asks every few seconds and must not wait as long as a request may. */
export const PING_TIMEOUT_MS = 2_000;

export function deadlineIn(timeoutMs: number): Deadline {
  return performance.now() + timeoutMs;
}

/** Whole milliseconds, rounded up: a timer set to them never ends before the deadline. 0 when it has passed. */
export function remainingMs(deadline: Deadline): number {
  return Math.max(0, Math.ceil(deadline - performance.now()));
}
