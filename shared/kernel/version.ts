import { errors } from "./errors.ts";

/** The condition of `If-Match`: any existing record, or one of these versions (RFC 9110 §13.1.1). */
export type IfMatch = "*" | readonly string[];

/** Options of every changing method of a service. */
export interface ChangeOptions {
  /** If the record has another version, the call fails with `precondition_failed` (412) and is not retried. */
  readonly ifMatch?: IfMatch | undefined;
  /** A repeated call of the same caller with this key returns the first result, for 24 hours. */
  readonly idempotencyKey?: string | undefined;
}

/** Throws `precondition_failed` unless the version satisfies `ifMatch`. */
export function assertMatch(version: string, { ifMatch }: ChangeOptions): void {
  if (ifMatch === undefined || ifMatch === "*" || ifMatch.includes(version)) return;
  throw errors.preconditionFailed(version);
}
