import type { Actor } from "../kernel/context.ts";
import type { AdminRole, Scopes, TenantRole } from "./scopes.ts";

/** The caller of a request, with the role and scopes that the store has for it now. */
export type Caller = Anonymous | PlatformAdmin | TenantUser;

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
  /** When the credential was issued, if it says so. */
  readonly issuedAtMs: number | undefined;
}

export interface TenantUser {
  readonly kind: "user";
  readonly actor: Actor;
  readonly scopes: Scopes;
  readonly tenantId: string;
  readonly role: TenantRole;
  readonly tenant: { readonly id: string; readonly name: string; readonly status: string; readonly plan: string };
}

export const ANONYMOUS: Anonymous = {
  kind: "anonymous",
  actor: { type: "user", id: "anonymous" },
  scopes: new Set(),
  tenantId: null,
};
