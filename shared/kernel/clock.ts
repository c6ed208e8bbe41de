/** The source of the time of day. Only the entry points read the system clock. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** A UTC instant in the stored form, `YYYY-MM-DDTHH:mm:ss.sssZ` (RFC 3339, 24 characters). */
export function isoTime(epochMs: number): string {
  // A request asks for the same millisecond many times.
  if (epochMs !== lastMs) [lastMs, lastText] = [epochMs, new Date(epochMs).toISOString()];
  return lastText;
}

let lastMs = NaN;
let lastText = "";
