import type { Clock } from "./clock.ts";
import type { JsonValue } from "./json.ts";

/** The actor, as the audit log records it. */
export interface Actor {
  readonly type: "admin" | "user" | "api_key" | "system";
  readonly id: string;
  readonly email?: string;
}

/** How a person has signed in. */
export interface SignIn {
  readonly hasSecondFactor: boolean;
  readonly isSingleSignOn: boolean;
}

/** The id of the actor of a request without a caller. */
export const ANONYMOUS_ID = "anonymous";

/**
 * One caller of the services, built once per request and frozen. `tenantId` is the tenant that the caller is bound to: its services
 * use the tenant-bound store, which the database enforces. Null for a platform caller.
 */
export interface Context {
  readonly actor: Actor;
  readonly tenantId: string | null;
  readonly requestId: string;
  readonly clock: Clock;
  /** The scopes that the caller holds and may grant. Absent for the program itself. */
  readonly scopes?: ReadonlySet<string>;
  /** The role of a tenant's own user. */
  readonly role?: string;
  readonly ipAddress?: string;
  readonly userAgent?: string;
  /** The request's `Idempotency-Key`. Its record is written in the request's first transaction. */
  readonly idempotency?: Idempotency;
}

/** A key with which a repeated call takes effect once. `request` is compared: another request with the key is refused. */
export interface Idempotency {
  readonly operation: string;
  readonly key: string;
  readonly request: JsonValue;
}

/** The context of the program itself: the scheduler, the seed, or library use without a caller. */
export function systemContext(clock: Clock, requestId = "system", id = "system"): Context {
  return Object.freeze({ actor: Object.freeze({ type: "system" as const, id }), tenantId: null, requestId, clock });
}
