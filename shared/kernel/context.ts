import type { Clock } from "./clock.ts";
import type { JsonValue } from "./json.ts";

/** Who acts, as the audit log records it. */
export interface Actor {
  readonly type: "admin" | "user" | "api_key" | "system";
  readonly id: string;
  readonly email?: string;
}

/**
 * One caller of the services, built once per request and frozen. `tenantId` is the tenant the caller
 * is bound to: services of a bound context use the tenant-bound store, which the database enforces.
 * `null` is a platform caller.
 */
export interface Context {
  readonly actor: Actor;
  readonly tenantId: string | null;
  readonly requestId: string;
  readonly clock: Clock;
  /** What the caller holds: it grants nothing beyond. Absent: the program itself. */
  readonly scopes?: ReadonlySet<string>;
  /** The role of a tenant's own user. */
  readonly role?: string;
  readonly ipAddress?: string;
  readonly userAgent?: string;
  /** The request's `Idempotency-Key`: its first transaction carries the record of it. */
  readonly idempotency?: Idempotency;
}

/** Asks that a call with this key counts once: `request` is what makes it the same call. */
export interface Idempotency {
  readonly operation: string;
  readonly key: string;
  readonly request: JsonValue;
}

/** The program itself: the scheduler, the seed, library use without a caller. */
export function systemContext(clock: Clock, requestId = "system", id = "system"): Context {
  return Object.freeze({ actor: Object.freeze({ type: "system" as const, id }), tenantId: null, requestId, clock });
}
