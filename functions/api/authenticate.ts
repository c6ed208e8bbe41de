import type { Container } from "../../shared/container.ts";
import { type AdminUser, adminUser } from "../../shared/features/admins/entity.ts";
import { type Tenant, tenant } from "../../shared/features/tenants/entity.ts";
import type { Actor } from "../../shared/kernel/context.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import { keyOf } from "../../shared/kv/define.ts";
import { isSegment, RESERVED_TENANT_IDS } from "../../shared/kv/key.ts";
import { adminScopes, isTenantRole, type Scopes, type TenantRole, tenantScopes } from "../../shared/core/scopes.ts";
import type { TokenClaims, TokenVerifier } from "../../shared/ports.ts";

/** Who is calling, as the store knows it at this moment. */
export type Caller =
  | { readonly kind: "anonymous"; readonly actor: Actor; readonly scopes: Scopes; readonly tenantId: null }
  | {
    readonly kind: "admin";
    readonly actor: Actor;
    readonly scopes: Scopes;
    readonly tenantId: null;
    readonly admin: AdminUser;
    /** When the credential was issued, where it says so. */
    readonly issuedAtMs: number | undefined;
  }
  | {
    readonly kind: "user";
    readonly actor: Actor;
    readonly scopes: Scopes;
    readonly tenantId: string;
    readonly role: TenantRole;
    readonly tenant: Tenant;
  };

export const anonymous: Caller = {
  kind: "anonymous",
  actor: { type: "user", id: "anonymous" },
  scopes: new Set(),
  tenantId: null,
};

/** The caller of a bearer token. What must take effect at once (a disabled admin, a suspended tenant) is read from the store. */
export async function authenticate(header: string | undefined, container: Container, verifier: TokenVerifier): Promise<Caller> {
  if (header === undefined) throw new InnkeepError("unauthenticated", "this request needs a bearer token");
  const token = /^Bearer +([A-Za-z0-9._~+/=-]+) *$/i.exec(header)?.[1];
  if (!token) throw new InnkeepError("unauthenticated", "the Authorization header is not `Bearer <token>`");
  const claims = await verifier.verify(token);
  const bound = tenantOf(claims);
  const [admin, own] = await Promise.all([findAdmin(container, claims.subject), bound && findTenant(container, bound.tenantId)]);
  const email = claims.email === undefined ? {} : { email: claims.email };
  if (admin?.enabled) {
    const actor: Actor = { type: "admin", id: admin.userId, email: admin.email };
    return {
      kind: "admin",
      actor,
      scopes: adminScopes(admin.role, admin.permissions),
      tenantId: null,
      admin,
      issuedAtMs: claims.issuedAtMs,
    };
  }
  if (bound && own) {
    const actor: Actor = { type: "user", id: claims.subject, ...email };
    return { kind: "user", actor, scopes: tenantScopes(bound.role), tenantId: bound.tenantId, role: bound.role, tenant: own };
  }
  throw new InnkeepError("forbidden", "this account is neither an enabled platform admin nor a user of an existing tenant");
}

/** From `app_metadata` alone; a missing role is the least one, an unknown role none. */
function tenantOf(claims: TokenClaims): { tenantId: string; role: TenantRole } | null {
  const { tenant_id: tenantId, tenant_role: role = "viewer" } = claims.appMetadata;
  if (typeof tenantId !== "string" || !isSegment(tenantId) || RESERVED_TENANT_IDS.has(tenantId)) return null;
  return isTenantRole(role) ? { tenantId, role } : null;
}

async function findAdmin(container: Container, userId: string): Promise<AdminUser | null> {
  if (!isSegment(userId)) return null;
  const entry = await container.store.get(keyOf(adminUser, { userId }));
  return entry && adminUser.schema.parse(entry.value);
}

async function findTenant(container: Container, id: string): Promise<Tenant | null> {
  const entry = await container.store.get(keyOf(tenant, { id }));
  return entry && tenant.schema.parse(entry.value);
}
