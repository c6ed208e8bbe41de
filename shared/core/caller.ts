import { type Actor, ANONYMOUS_ID, type SignIn } from "../kernel/context.ts";
import type { Maintenance } from "./maintenance.ts";
import type { AdminRole, Scopes, TenantRole } from "./scopes.ts";

/** The caller of a request, with the role and scopes that the store has for it now. */
export type Caller = Anonymous | PlatformAdmin | TenantUser | ApiKeyCaller;

export interface Anonymous {
  readonly kind: "anonymous";
  readonly actor: Actor;
  readonly scopes: Scopes;
  readonly tenantId: null;
}

export interface PlatformAdmin {
  readonly kind: "admin";
  readonly actor: Actor;
  readonly scopes: Scopes;
  readonly tenantId: null;
  readonly role: AdminRole;
  readonly signIn: SignIn;
  /** When the credential was issued, if it says so. */
  readonly issuedAtMs: number | undefined;
}

export interface TenantUser {
  readonly kind: "user";
  readonly actor: Actor;
  readonly scopes: Scopes;
  readonly tenantId: string;
  readonly role: TenantRole;
  readonly signIn: SignIn;
  readonly tenant: CallerTenant;
}

/** A program with an API key. A key without a tenant is a platform caller; one with a tenant has no rights of the tenant's owner. */
export interface ApiKeyCaller {
  readonly kind: "key";
  readonly actor: Actor;
  readonly scopes: Scopes;
  readonly tenantId: string | null;
  /** Null for a key without a tenant. */
  readonly tenant: CallerTenant | null;
  readonly name: string;
  /** The key's own rate limit, instead of the platform's. */
  readonly rateLimit?: RateLimit | undefined;
}

/** What the records say of a caller's tenant now. */
export interface CallerTenant {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly plan: string;
  readonly maintenance?: Maintenance;
  /** Its own settings, without those that it inherits. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
}

/** At most `limit` requests in each window. */
export interface RateLimit {
  readonly limit: number;
  readonly windowSeconds: number;
}

/** The limits of callers: of a person, of an API key that has none of its own, and of an address without a valid credential. */
export interface RateLimits {
  readonly user: RateLimit;
  readonly key: RateLimit;
  readonly address: RateLimit;
}

export const DEFAULT_RATE_LIMITS: RateLimits = {
  user: { limit: 1_200, windowSeconds: 60 },
  key: { limit: 6_000, windowSeconds: 60 },
  address: { limit: 600, windowSeconds: 60 },
};

export const ANONYMOUS: Anonymous = {
  kind: "anonymous",
  actor: { type: "user", id: ANONYMOUS_ID },
  scopes: new Set(),
  tenantId: null,
};
