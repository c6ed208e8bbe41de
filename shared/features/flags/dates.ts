/** The longest date with a time, a fraction and an offset. */
export const MAX_DATE_CHARS = 40;

/** A day, or an instant with `Z` or an offset (RFC 3339). A local time has no single meaning, so it is refused. */
const DATE = /^(\d{4})-(\d{2})-(\d{2})(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2}))?$/;

/** Milliseconds since the Unix epoch; a day means its midnight in UTC. Null for anything else, such as 30 February. */
export function parseDate(text: string): number | null {
  const [, year, month, day] = DATE.exec(text) ?? [];
  if (year === undefined) return null;
  // Date.parse would turn 30 February into 2 March.
  const midnight = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  if (midnight.getUTCMonth() !== Number(month) - 1 || midnight.getUTCDate() !== Number(day)) return null;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : ms;
}
