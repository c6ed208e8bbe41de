import { errors } from "../kernel/errors.ts";
import { findUnstorable } from "../kernel/json.ts";

/**
 * Keys are segments joined by `:`. A segment is 1–128 of `[A-Za-z0-9._~@+-]`, or a timestamp in the
 * 24-character ISO form, which itself contains two colons. `.` and `..` are not segments,
 * because URL parsers remove them from paths (RFC 3986 §5.2.4).
 */
export const MAX_KEY_BYTES = 512; // the alphabet is ASCII, so characters are bytes
const SEGMENT = /^(?!\.\.?$)[A-Za-z0-9._~@+-]{1,128}$/;
const TIMESTAMP = /^(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/;
const KEY = /^(?!\.\.?(?::|$))[A-Za-z0-9._~@+-]{1,128}(?::(?!\.\.?(?::|$))[A-Za-z0-9._~@+-]{1,128})*$/;
const TIMED = /(?<=^|:)\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z(?=:|$)/g;
const SPLIT = /\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z(?=:|$)|[^:]*/y;

/** Reserved segments that cannot be a tenant id: names of the platform's own scopes, and paths below `/v1/tenants/`. */
export const RESERVED_TENANT_IDS: ReadonlySet<string> = new Set(["global", "platform", "settings", "stats", "resolve"]);

/** Whether the text is one segment and not a timestamp. */
export function isSegment(text: string): boolean {
  return SEGMENT.test(text);
}

/** Whether the text is a valid instant in the 24-character form. `2026-02-31T…` is not. */
export function isTimestamp(text: string): boolean {
  const [, year, month, day] = TIMESTAMP.exec(text) ?? [];
  // Every month has 28 days. Later days need the calendar.
  return day !== undefined && (day <= "28" || Number(day) <= new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate());
}

/** The segments of a key. A timestamp is one segment. Throws `invalid_key`. */
export function splitKey(key: string): string[] {
  if (key.length === 0) throw errors.invalidKey("must not be empty");
  if (key.length > MAX_KEY_BYTES) throw errors.invalidKey(`must be at most ${MAX_KEY_BYTES} bytes`);
  const segments: string[] = [];
  let at = 0;
  do {
    SPLIT.lastIndex = at;
    const segment = SPLIT.exec(key)?.[0] ?? "";
    assertSegment(segment, "key");
    segments.push(segment);
    at += segment.length + 1;
  } while (at <= key.length);
  return segments;
}

/** Throws `invalid_key` at `path` unless the text is a segment or a timestamp. */
export function assertSegment(segment: string, path: string): void {
  if (SEGMENT.test(segment) || isTimestamp(segment)) return;
  throw errors.invalidKey(
    `must have segments of 1-128 characters of A-Z a-z 0-9 . _ ~ @ + - (not . or ..) or ISO timestamps; got ${
      JSON.stringify(segment.slice(0, 40))
    }`,
    path,
  );
}

/** Whether the text is a key. One pass: a timestamp also matches as three plain segments, but must be a valid instant. */
export function isKey(text: string): boolean {
  return text.length <= MAX_KEY_BYTES && KEY.test(text) && (!text.includes("T") || (text.match(TIMED) ?? []).every(isTimestamp));
}

/** Throws `invalid_key` with the first invalid segment. */
export function assertKey(key: string): void {
  if (!isKey(key)) splitKey(key);
}

/** A half-open range of keys: `start <= key < end`, compared by bytes. */
export interface KeyRange {
  readonly start: string;
  readonly end: string;
}

/**
 * The keys under a prefix of whole segments: `usage:tn_1` and `usage:tn_1:` both mean
 * `usage:tn_1:` ≤ key < `usage:tn_1;` (`;` follows `:` in ASCII), so `usage:tn_10:…` is never in it.
 * The empty prefix is the whole store.
 */
export function prefixRange(prefix: string): KeyRange {
  if (prefix === "") return { start: "", end: "\u007f" };
  const whole = prefix.endsWith(":") ? prefix.slice(0, -1) : prefix;
  splitKey(whole);
  return { start: `${whole}:`, end: `${whole};` };
}

/** The part of a prefix between `start` (inclusive) and `end` (exclusive). */
export function rangeOf(options: { readonly prefix?: string; readonly start?: string; readonly end?: string }): KeyRange {
  for (const bound of ["start", "end"] as const) {
    const unstorable = findUnstorable(options[bound] ?? "");
    if (unstorable) throw errors.parameter(bound, unstorable.message, unstorable.code);
  }
  const range = prefixRange(options.prefix ?? "");
  const start = options.start !== undefined && options.start > range.start ? options.start : range.start;
  const end = options.end !== undefined && options.end < range.end ? options.end : range.end;
  return { start, end };
}
