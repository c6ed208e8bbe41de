/** Time comes in as a value: nothing below the entry points asks the machine. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** UTC instant in the one stored form, `YYYY-MM-DDTHH:mm:ss.sssZ` (RFC 3339, 24 characters). */
export function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
