import type { AdminRole } from "../../shared/core/scopes.ts";
import type { TenantRole } from "../../shared/core/scopes.ts";
import type { LocalInfo, Secrets, TokenName } from "./data-directory.ts";
import { signToken } from "./tokens.ts";

/** The subject of a local token. Administrators are records in the store; a tenant's users exist only in their tokens. */
interface Person {
  readonly userId: string;
  readonly email: string;
  readonly name: string;
}

export const LOCAL_ADMINS: Readonly<Record<AdminRole, Person>> = {
  super_admin: { userId: "local-super-admin", email: "super.admin@innkeep.example", name: "Sol Superior" },
  admin: { userId: "local-admin", email: "admin@innkeep.example", name: "Ada Administrator" },
  support: { userId: "local-support", email: "support@innkeep.example", name: "Sam Support" },
  read_only: { userId: "local-read-only", email: "read.only@innkeep.example", name: "Rae Reader" },
};

export interface TokenSubject {
  readonly role: AdminRole | TenantRole;
  /** Null for a platform administrator. */
  readonly tenantId: string | null;
  /** Default: the local person with that role. */
  readonly userId?: string;
}

export async function tokenFor(secrets: Secrets, url: string, subject: TokenSubject, expiresInSeconds: number): Promise<string> {
  const { role, tenantId } = subject;
  const person: { readonly userId: string; readonly email: string } = tenantId === null
    ? LOCAL_ADMINS[role as AdminRole]
    : { userId: `local-tenant-${role}`, email: `${role}@tenant.example` };
  const userId = subject.userId ?? person.userId;
  return await signToken(secrets.signingKey, url, {
    userId,
    email: subject.userId === undefined ? person.email : `${userId.toLowerCase()}@innkeep.example`,
    appMetadata: tenantId === null ? {} : { tenant_id: tenantId, tenant_role: role },
    expiresInSeconds,
  });
}

const LOCAL_TOKEN_SECONDS = 7 * 24 * 3_600;

/** The tokens of `local.json`. Those of tenant roles are null if there is no tenant. */
export async function localTokens(secrets: Secrets, url: string, tenantId: string | null): Promise<LocalInfo["tokens"]> {
  const platform = (role: AdminRole) => tokenFor(secrets, url, { role, tenantId: null }, LOCAL_TOKEN_SECONDS);
  const tenant = (role: TenantRole) =>
    tenantId === null ? Promise.resolve(null) : tokenFor(secrets, url, { role, tenantId }, LOCAL_TOKEN_SECONDS);
  const names = ["superAdmin", "admin", "support", "readOnly", "tenantOwner", "tenantStaff", "tenantViewer"] as const;
  const tokens = await Promise.all([
    platform("super_admin"),
    platform("admin"),
    platform("support"),
    platform("read_only"),
    tenant("owner"),
    tenant("staff"),
    tenant("viewer"),
  ]);
  return Object.fromEntries(names.map((name, i) => [name, tokens[i] ?? null])) as Record<TokenName, string | null>;
}
