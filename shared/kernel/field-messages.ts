import type { z } from "zod";

type RawIssue = z.core.$ZodRawIssue;
type Issue<C extends RawIssue["code"]> = Extract<RawIssue, { code: C }>;

/**
 * The message for an invalid value, as a fragment that follows the field's name: "must be at least 3 characters".
 * It never contains the value, which may be secret or very long.
 */
export function fieldMessage(issue: RawIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is required" : `must be ${TYPES[issue.expected] ?? "of another type"}`;
    case "invalid_value":
      return choice(issue.values);
    case "too_small":
      return lowerBound(issue);
    case "too_big":
      return upperBound(issue);
    case "invalid_format":
      return format(issue);
    case "not_multiple_of":
      return `must be a multiple of ${issue.divisor}`;
    case "unrecognized_keys":
      return "has an unknown field";
    case "invalid_key":
      return `must have only valid names: a name ${issue.issues[0]?.message || "is not valid"}`;
    case "invalid_element":
      return `must have only valid items: an item ${issue.issues[0]?.message || "is not valid"}`;
    case "invalid_union":
      return unionMessage(issue);
    default:
      return "is not valid";
  }
}

const TYPES: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  bigint: "a whole number",
  boolean: "true or false",
  object: "an object",
  record: "an object",
  map: "an object",
  array: "a list",
  tuple: "a list",
  set: "a list",
  date: "a date",
  null: "null",
  undefined: "left out",
  never: "left out",
};

function choice(values: readonly unknown[]): string {
  const shown = values.map(String);
  return shown.length === 1 ? `must be ${shown[0]}` : `must be one of ${shown.join(", ")}`;
}

/** The units of lengths, by type. */
const UNITS: Readonly<Record<string, readonly [one: string, many: string]>> = {
  string: ["character", "characters"],
  array: ["item", "items"],
  tuple: ["item", "items"],
  set: ["item", "items"],
  map: ["field", "fields"],
  object: ["field", "fields"],
  record: ["field", "fields"],
  file: ["byte", "bytes"],
};

function counted(origin: string, bound: string, count: number | bigint): string {
  const [one, many] = UNITS[origin] ?? ["", ""];
  const amount = `${bound} ${count} ${Number(count) === 1 ? one : many}`.trim();
  return origin === "string" ? `must be ${amount}` : `must have ${amount}`;
}

function lowerBound({ origin, minimum, inclusive, exact }: Issue<"too_small">): string {
  if (origin === "date") return `must not be before ${instantOf(minimum)}`;
  if (!UNITS[origin]) return inclusive ? `must be at least ${minimum}` : `must be greater than ${minimum}`;
  if (exact) return counted(origin, "exactly", minimum);
  if (Number(minimum) === 1) return "must not be empty";
  return counted(origin, "at least", minimum);
}

function upperBound({ origin, maximum, inclusive, exact }: Issue<"too_big">): string {
  if (origin === "date") return `must not be after ${instantOf(maximum)}`;
  if (!UNITS[origin]) return inclusive ? `must be at most ${maximum}` : `must be less than ${maximum}`;
  return counted(origin, exact ? "exactly" : "at most", maximum);
}

function instantOf(ms: number | bigint): string {
  return new Date(Number(ms)).toISOString();
}

const FORMATS: Readonly<Record<string, string>> = {
  email: "must be an email address, such as ada@example.com",
  url: "must be a URL, such as https://example.com",
  httpUrl: "must be a URL, such as https://example.com",
  date: "must be a day YYYY-MM-DD",
  time: "must be a time HH:mm:ss",
  datetime: "must be an instant, such as 2026-11-01T09:30:00.000Z",
  duration: "must be an ISO 8601 duration, such as P1D",
  uuid: "must be a UUID",
  guid: "must be a UUID",
  ipv4: "must be an IPv4 address",
  ipv6: "must be an IPv6 address",
  cidrv4: "must be an IPv4 range, such as 10.0.0.0/8",
  cidrv6: "must be an IPv6 range, such as fd00::/8",
  hostname: "must be a host name, such as www.example.com",
  base64: "must be base64",
  base64url: "must be base64url",
  json_string: "must be JSON",
  jwt: "must be a JSON Web Token",
  lowercase: "must be lower case",
  uppercase: "must be upper case",
};

function format(issue: Issue<"invalid_format">): string {
  const { prefix, suffix, includes } = issue as { readonly prefix?: string; readonly suffix?: string; readonly includes?: string };
  if (prefix !== undefined) return `must begin with ${prefix}`;
  if (suffix !== undefined) return `must end with ${suffix}`;
  if (includes !== undefined) return `must contain ${includes}`;
  return FORMATS[issue.format] ?? "is not in the required format";
}

/** A tagged union lists its tags. For another union, the messages of its forms become one. */
function unionMessage(issue: Issue<"invalid_union">): string {
  const { options } = issue as { readonly options?: readonly unknown[] };
  if (options) return choice(options);
  const forms = issue.errors.map((errors) => errors.length === 1 && errors[0]?.path.length === 0 ? errors[0].message : "");
  const types = forms.map((message) => message.replace(/^must be /, ""));
  if (forms.length === 0 || forms.some((message) => !message.startsWith("must be "))) return "matches none of the allowed forms";
  return `must be ${types.join(" or ")}`;
}
