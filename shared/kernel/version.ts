import { errors } from "./errors.ts";

/** What `If-Match` and `If-None-Match` name: any existing record, or these versions (RFC 9110 §13.1.1 and §13.1.2). */
export type IfMatch = "*" | readonly string[];

/** Options of every changing method of a service. */
export interface ChangeOptions {
  /** 412 `precondition_failed` at once when the record has another version. */
  readonly ifMatch?: IfMatch | undefined;
  /** 412 at once when the record has one of these versions, or with `*` when there is one: then the call only creates. */
  readonly ifNoneMatch?: IfMatch | undefined;
  /** A call seen before with this key returns what it returned then (24 hours a caller). */
  readonly idempotencyKey?: string | undefined;
}

/** Holds an existing record against the options. Throws `precondition_failed`. */
export function assertMatch(version: string, { ifMatch, ifNoneMatch }: ChangeOptions): void {
  if (ifMatch !== undefined && !names(ifMatch, version)) throw errors.preconditionFailed(version);
  if (ifNoneMatch === undefined || !names(ifNoneMatch, version)) return;
  throw errors.preconditionFailed(version, "The record exists in a version that If-None-Match names. Read it before you change it.");
}

function names(match: IfMatch, version: string): boolean {
  return match === "*" || match.includes(version);
}
