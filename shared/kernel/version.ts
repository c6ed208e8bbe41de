import { errors } from "./errors.ts";

/** What `If-Match` asks for: any existing record, or one of these versions (RFC 9110 §13.1.1). */
export type IfMatch = "*" | readonly string[];

/** Options of every changing method of a service. */
export interface ChangeOptions {
  /** 412 `precondition_failed` at once when the record has another version. */
  readonly ifMatch?: IfMatch | undefined;
  /** A call seen before with this key returns what it returned then (24 hours a caller). */
  readonly idempotencyKey?: string | undefined;
}

export function assertMatch(version: string, { ifMatch }: ChangeOptions): void {
  if (ifMatch === undefined || ifMatch === "*" || ifMatch.includes(version)) return;
  throw errors.preconditionFailed(version);
}
