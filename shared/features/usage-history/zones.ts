/** Time zones of the IANA database, as the runtime knows them. */
const DAY_MS = 86_400_000;
const NAME = /^[A-Za-z][A-Za-z0-9_+\-/]{0,63}$/;
/** One format for each zone: building one takes longer than all its uses in a request. */
const formats = new Map<string, Intl.DateTimeFormat>();

/** Whether the runtime knows a zone of this name. An offset such as `+02:00` is none: it has no daylight saving time. */
export function isTimeZone(name: string): boolean {
  if (!NAME.test(name)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** Minutes that the zone is ahead of UTC at an instant. Seconds of historic offsets become a fraction. */
export function offsetMinutes(zone: string, epochMs: number): number {
  if (zone === "UTC") return 0;
  let format = formats.get(zone);
  if (!format) formats.set(zone, format = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" }));
  const text = format.formatToParts(epochMs).find(({ type }) => type === "timeZoneName")?.value ?? "";
  const [, sign = "+", hours = "0", minutes = "0", seconds = "0"] = /^GMT([+-])(\d{2}):(\d{2})(?::(\d{2}))?$/.exec(text) ?? [];
  return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes) + Number(seconds) / 60);
}

/** The calendar day of an instant in the zone, `YYYY-MM-DD`. */
export function dayIn(zone: string, epochMs: number): string {
  return new Date(epochMs + offsetMinutes(zone, epochMs) * 60_000).toISOString().slice(0, 10);
}

/**
 * The first instant of a calendar day in the zone. Midnight exists twice where clocks are set back to the day before, and not at all where
 * they are set forward at midnight; then the day begins at another time.
 */
export function startOfDay(zone: string, day: string): number {
  const midnight = Date.parse(`${day}T00:00:00.000Z`);
  const candidates = [-DAY_MS, DAY_MS].map((shift) => midnight - offsetMinutes(zone, midnight + shift) * 60_000).sort((a, b) => a - b);
  return candidates.find((instant) => dayIn(zone, instant) >= day) ?? midnight;
}
