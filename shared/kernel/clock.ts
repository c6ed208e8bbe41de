/** The source of the time of day. Only the entry points read the system clock. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** A UTC instant in the stored form, `YYYY-MM-DDTHH:mm:ss.sssZ` (RFC 3339, 24 characters). */
export function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
