import type { IfMatch } from "../../shared/kernel/version.ts";

/** Conditional requests (RFC 9110 §13). A version is a strong ETag: `"42"`. */

export function etagOf(version: string): string {
  return `"${version}"`;
}

const TAG = /(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"/g;
const TAG_LIST = /^\s*(W\/)?"[^"]*"(\s*,\s*(W\/)?"[^"]*")*\s*$/;

/** Returns null if the header is not a list of entity tags. Omits weak tags, which never match in a strong comparison. */
export function parseIfMatch(header: string | undefined): IfMatch | null | undefined {
  if (header === undefined) return undefined;
  if (header.trim() === "*") return "*";
  if (!TAG_LIST.test(header)) return null;
  return [...header.matchAll(TAG)].filter((match) => match[1] === undefined).map((match) => match[2] ?? "");
}

/** Whether `If-None-Match` contains the version of the response (weak comparison). The response is then 304. */
export function noneMatches(header: string | undefined, version: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === "*") return true;
  return [...header.matchAll(TAG)].some((match) => match[2] === version);
}
