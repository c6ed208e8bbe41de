import { errors } from "./errors.ts";

/** The value of `If-Match` or `If-None-Match`: any existing record, or one of these versions (RFC 9110 §13.1.1 and §13.1.2). */
export type IfMatch = "*" | readonly string[];

/** Options of every changing method of a service. */
export interface ChangeOptions {
  /** If the record has another version, the call fails with `precondition_failed` (412) and is not retried. */
  readonly ifMatch?: IfMatch | undefined;
  /** If the record has one of these versions, or exists at all for `*`, the call fails with `precondition_failed` (412). */
  readonly ifNoneMatch?: IfMatch | undefined;
  /** A repeated call of the same caller with this key returns the first result, for 24 hours. */
  readonly idempotencyKey?: string | undefined;
}

/** Throws `precondition_failed` unless the version of an existing record satisfies the conditions. */
export function assertMatch(version: string, { ifMatch, ifNoneMatch }: ChangeOptions): void {
  if (ifMatch !== undefined && !names(ifMatch, version)) throw errors.preconditionFailed(version);
  if (ifNoneMatch === undefined || !names(ifNoneMatch, version)) return;
  throw errors.preconditionFailed(version, "The record exists, and If-None-Match excludes its version. Read it before you change it.");
}

function names(match: IfMatch, version: string): boolean {
  return match === "*" || match.includes(version);
}
