/**
 * Scopes `read:<resource>` and `write:<resource>`. One catalogue, made of what the features declare, serves
 * platform roles, tenant roles and API keys.
 */
export type Scope = `${"read" | "write"}:${string}`;
export type Scopes = ReadonlySet<string>;

/** Stands for every scope there is or will be: who holds all of today's scopes does not hold it. */
const EVERYTHING = "*";

/** How far a tenant's own credential can ever reach, and who on the platform's side is left out. */
export interface ResourceTraits {
  readonly tenants: "none" | "read" | "write";
  /** A tenant reads it at most, except its owner, who writes it. */
  readonly ownerOnly?: boolean;
  /** Also written by platform support and by a tenant's staff. */
  readonly supportWrites?: boolean;
  /** Credentials in the clear: no part of a read-only role. */
  readonly secret?: boolean;
  /** No part of any wildcard but `*`. */
  readonly superAdminOnly?: boolean;
  /** Written by super_admin alone. */
  readonly superAdminWrites?: boolean;
}

export const ADMIN_ROLES = ["super_admin", "admin", "support", "read_only"] as const;
export type AdminRole = (typeof ADMIN_ROLES)[number];
export const TENANT_ROLES = ["viewer", "staff", "admin", "owner"] as const;
export type TenantRole = (typeof TENANT_ROLES)[number];

/** The scopes there are, what a grant may say, and what each role holds. */
export interface ScopeCatalogue {
  readonly all: readonly Scope[];
  /** One scope, or a wildcard over reads, writes or everything. */
  readonly grants: readonly string[];
  /** The scopes that grants such as `read:*` stand for. A grant this version does not know gives nothing. */
  expand(grants: readonly string[]): Scopes;
  /** A platform role's scopes and the permissions beyond it. */
  ofAdmin(role: AdminRole, permissions?: readonly string[]): Scopes;
  /** A tenant user's scopes; they hold in its own tenant only. */
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
  const tenants: Readonly<Record<TenantRole, Scopes>> = {
    viewer: select((_, of, read) => readsOwn(of, read)),
    staff: select((_, of, read) => readsOwn(of, read) || (of.tenants === "write" && of.supportWrites === true)),
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

/** Nobody grants, or takes from another, what it does not have itself. */
export function covers(own: Scopes, asked: Scopes): boolean {
  for (const scope of asked) if (!own.has(scope)) return false;
  return true;
}
