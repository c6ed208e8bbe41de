import type { Context } from "hono";
import { isMutation, type Route } from "../../shared/core/route.ts";
import { errors } from "../../shared/kernel/errors.ts";
import type { ChangeOptions, IfMatch } from "../../shared/kernel/version.ts";

/** Conditional requests (RFC 9110 §13). A version is a strong ETag: `"42"`. */

export function etagOf(version: string): string {
  return `"${version}"`;
}

const TAG = /(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"/g;
const TAG_LIST = /^\s*(W\/)?"[^"]*"(\s*,\s*(W\/)?"[^"]*")*\s*$/;

/** A precondition header of a mutating request. Throws `invalid_parameter` if it is not a list of entity tags. */
function readCondition(name: "If-Match" | "If-None-Match", header: string | undefined): IfMatch | undefined {
  if (header === undefined) return undefined;
  if (header.trim() === "*") return "*";
  if (!TAG_LIST.test(header)) throw errors.parameter(name, 'must be `*` or entity tags such as "42"');
  const tags = [...header.matchAll(TAG)];
  // If-Match uses the strong comparison, in which a weak tag never matches.
  return (name === "If-Match" ? tags.filter((match) => match[1] === undefined) : tags).map((match) => match[2] ?? "");
}

/** The preconditions of a mutating request (RFC 9110 §13.1). */
export function readConditions(c: Context, route: Route): Pick<ChangeOptions, "ifMatch" | "ifNoneMatch"> {
  if (!isMutation(route)) return {};
  const read = (name: "If-Match" | "If-None-Match") => readCondition(name, c.req.header(name));
  return { ifMatch: read("If-Match"), ifNoneMatch: read("If-None-Match") };
}

/** Whether `If-None-Match` contains the version of the response (weak comparison). The response is then 304. */
export function noneMatches(header: string | undefined, version: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === "*") return true;
  return [...header.matchAll(TAG)].some((match) => match[2] === version);
}
