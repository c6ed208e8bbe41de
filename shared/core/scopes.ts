/**
 * Scopes `read:<resource>` and `write:<resource>`. Platform roles and tenant roles use one catalogue, which is derived
 * from the declarations of the features.
 */
export type Scope = `${"read" | "write"}:${string}`;
export type Scopes = ReadonlySet<string>;

/** Grants every scope, also those of later versions. It is more than the sum of the present scopes. */
const EVERYTHING = "*";

/** Who can get the scopes of a resource. */
export interface ResourceTraits {
  /** The most that a tenant's own users can get. */
  readonly tenants: "none" | "read" | "write";
  /** Of a tenant's users, only the owner may write it. */
  readonly ownerOnly?: boolean;
  /** Platform support and a tenant's staff may write it too. */
  readonly supportWrites?: boolean;
  /** Concerns credentials. The role read_only and a tenant's viewers and staff may not read it. */
  readonly secret?: boolean;
  /** Only super_admin has its scopes. The grants `read:*` and `write:*` do not contain them. */
  readonly superAdminOnly?: boolean;
  /** Of the platform roles, only super_admin may write it. */
  readonly superAdminWrites?: boolean;
}

export const ADMIN_ROLES = ["super_admin", "admin", "support", "read_only"] as const;
export type AdminRole = (typeof ADMIN_ROLES)[number];
export const TENANT_ROLES = ["viewer", "staff", "admin", "owner"] as const;
export type TenantRole = (typeof TENANT_ROLES)[number];

/** All scopes, the valid grants, and the scopes of each role. */
export interface ScopeCatalogue {
  readonly all: readonly Scope[];
  /** The valid grants: every scope, `read:*`, `write:*` and `*`. */
  readonly grants: readonly string[];
  /** The scopes of grants such as `read:*`. An unknown grant adds none. */
  expand(grants: readonly string[]): Scopes;
  /** The scopes of a platform role and of the additional permissions. */
  ofAdmin(role: AdminRole, permissions?: readonly string[]): Scopes;
  /** The scopes of a tenant user, which are valid only in its own tenant. */
  ofTenant(role: TenantRole): Scopes;
}

export function scopeCatalogue(resources: Readonly<Record<string, ResourceTraits>>): ScopeCatalogue {
  const all = Object.keys(resources).flatMap((resource): Scope[] => [`read:${resource}`, `write:${resource}`]);
  const traits = (scope: Scope): Partial<ResourceTraits> => resources[scope.slice(scope.indexOf(":") + 1)] ?? {};
  const select = (keep: (scope: Scope, traits: Partial<ResourceTraits>, isRead: boolean) => boolean): Scopes =>
    new Set(all.filter((scope) => keep(scope, traits(scope), isRead(scope))));
  const admins: Readonly<Record<AdminRole, Scopes>> = {
    super_admin: new Set([EVERYTHING, ...all]),
    admin: select((_, { superAdminOnly, superAdminWrites }, read) => !superAdminOnly && (read || !superAdminWrites)),
    support: select((_, { superAdminOnly, supportWrites }, read) => !superAdminOnly && (read || supportWrites === true)),
    read_only: select((_, { superAdminOnly, secret }, read) => read && !superAdminOnly && !secret),
  };
  const readsOwn = (of: Partial<ResourceTraits>, read: boolean) => read && of.tenants !== "none";
  const viewsOwn = (of: Partial<ResourceTraits>, read: boolean) => readsOwn(of, read) && !of.secret;
  const tenants: Readonly<Record<TenantRole, Scopes>> = {
    viewer: select((_, of, read) => viewsOwn(of, read)),
    staff: select((_, of, read) => viewsOwn(of, read) || (of.tenants === "write" && of.supportWrites === true)),
    admin: select((_, of, read) => readsOwn(of, read) || (of.tenants === "write" && !of.ownerOnly)),
    owner: select((_, of, read) => readsOwn(of, read) || of.tenants === "write"),
  };
  const stands = (grant: string, scope: Scope) =>
    grant === EVERYTHING || grant === scope || (grant === `${isRead(scope) ? "read" : "write"}:*` && !traits(scope).superAdminOnly);
  const expand = (grants: readonly string[]): Scopes =>
    new Set([
      ...grants.filter((grant) => grant === EVERYTHING),
      ...all.filter((scope) => grants.some((grant) => stands(grant, scope))),
    ]);
  return {
    all,
    grants: [EVERYTHING, "read:*", "write:*", ...all],
    expand,
    ofAdmin: (role, permissions) => permissions?.length ? new Set([...admins[role], ...expand(permissions)]) : admins[role],
    ofTenant: (role) => tenants[role],
  };
}

function isRead(scope: Scope): boolean {
  return scope.startsWith("read:");
}

export function isTenantRole(value: unknown): value is TenantRole {
  return TENANT_ROLES.includes(value as TenantRole);
}

/** Whether `own` contains every scope of `asked`. A caller can grant or revoke only scopes that it has. */
export function covers(own: Scopes, asked: Scopes): boolean {
  for (const scope of asked) if (!own.has(scope)) return false;
  return true;
}
