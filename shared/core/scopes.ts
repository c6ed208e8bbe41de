import type { AdminRole } from "../features/admins/entity.ts";

/**
 * The one catalogue of what may be asked for. It serves admin roles, tenant roles and API keys.
 * `tenants` says how far a tenant's own credential can ever reach: a tenant reads the plans but never
 * writes them, and knows nothing of admins. `superAdminOnly` is not part of any `read:*`.
 */
const CATALOGUE = {
  "tenants": { tenants: "write" },
  "subscriptions": { tenants: "write" },
  "usage": { tenants: "write" },
  "alerts": { tenants: "write" },
  "integrations": { tenants: "write" },
  "webhooks": { tenants: "write" },
  "api-keys": { tenants: "write" },
  "compliance": { tenants: "write" },
  "notifications": { tenants: "write" },
  // Prices, what was billed and which features a plan opens are the platform's to change.
  "plans": { tenants: "read" },
  "invoices": { tenants: "read" },
  "flags": { tenants: "read" },
  "audit": { tenants: "read" },
  // Stored credentials in the clear.
  "secrets": { tenants: "none", secret: true },
  "policies": { tenants: "none" },
  "settings": { tenants: "none" },
  "admins": { tenants: "none" },
  "dashboard": { tenants: "none" },
  "kv": { tenants: "none", superAdminOnly: true },
} as const satisfies Record<string, { tenants: "none" | "read" | "write"; secret?: boolean; superAdminOnly?: boolean }>;

export type Resource = keyof typeof CATALOGUE;
export type Scope = `${"read" | "write"}:${Resource}`;
export type Scopes = ReadonlySet<Scope>;

export const TENANT_ROLES = ["viewer", "staff", "admin", "owner"] as const;
export type TenantRole = (typeof TENANT_ROLES)[number];

const resources = Object.keys(CATALOGUE) as Resource[];
export const ALL_SCOPES: readonly Scope[] = resources.flatMap((resource): Scope[] => [`read:${resource}`, `write:${resource}`]);
const everything: Scopes = new Set(ALL_SCOPES);

/** What a grant may say: one scope, or a wildcard over reads, writes or everything. */
export const GRANTS: readonly string[] = ["*", "read:*", "write:*", ...ALL_SCOPES];

const trait = (scope: Scope): { tenants: "none" | "read" | "write"; secret?: boolean; superAdminOnly?: boolean } =>
  CATALOGUE[scope.slice(scope.indexOf(":") + 1) as Resource];
const isRead = (scope: Scope) => scope.startsWith("read:");
const select = (keep: (scope: Scope) => boolean): Scope[] => ALL_SCOPES.filter(keep);

const platformReads = select((scope) => isRead(scope) && !trait(scope).superAdminOnly);

const ADMIN_SCOPES: Readonly<Record<AdminRole, Scopes>> = {
  super_admin: everything,
  admin: new Set(select((scope) => scope !== "write:admins" && !trait(scope).superAdminOnly)),
  support: new Set<Scope>([...platformReads, "write:notifications"]),
  read_only: new Set(platformReads.filter((scope) => !trait(scope).secret)),
};

const tenantReads = select((scope) => isRead(scope) && trait(scope).tenants !== "none");
const tenantWrites = select((scope) => !isRead(scope) && trait(scope).tenants === "write");

const TENANT_SCOPES: Readonly<Record<TenantRole, Scopes>> = {
  viewer: new Set(tenantReads),
  staff: new Set<Scope>([...tenantReads, "write:usage", "write:notifications"]),
  admin: new Set([...tenantReads, ...tenantWrites.filter((scope) => scope !== "write:subscriptions")]),
  owner: new Set([...tenantReads, ...tenantWrites]),
};

/** The scopes that grants such as `read:*` stand for. A grant this version does not know gives nothing. */
export function expandGrants(grants: readonly string[]): Scopes {
  const scopes = new Set<Scope>();
  for (const grant of grants) {
    for (const scope of ALL_SCOPES) {
      if (grant === "*" || grant === scope) scopes.add(scope);
      else if (grant === `${isRead(scope) ? "read" : "write"}:*` && !trait(scope).superAdminOnly) scopes.add(scope);
    }
  }
  return scopes;
}

/** An admin's role and the permissions beyond it. */
export function adminScopes(role: AdminRole, permissions: readonly string[] = []): Scopes {
  const ofRole = ADMIN_SCOPES[role];
  return permissions.length === 0 ? ofRole : new Set([...ofRole, ...expandGrants(permissions)]);
}

/** A tenant user's scopes; they hold in its own tenant only. */
export function tenantScopes(role: TenantRole): Scopes {
  return TENANT_SCOPES[role];
}

export function isTenantRole(value: unknown): value is TenantRole {
  return TENANT_ROLES.includes(value as TenantRole);
}

/** Nobody grants, or takes from another, what it does not have itself. */
export function covers(own: Scopes, asked: Scopes): boolean {
  for (const scope of asked) if (!own.has(scope)) return false;
  return true;
}

/** Records of a tenant's own that it may change in part. */
export type OwnRecord = "tenant" | "subscription" | "usage";

/** Who may change which member of a record of the tenant's own; what is not named, `admin` and `owner` may. */
const TENANT_FIELDS: Readonly<Record<OwnRecord, Readonly<Record<string, "owner" | "platform">>>> = {
  tenant: {
    status: "platform",
    plan: "platform",
    mrr: "platform",
    usagePercent: "platform",
    trialEndsAt: "platform",
    suspensionReason: "platform",
    // Until a domain is verified, claiming one would be taking requests that are meant for others.
    customDomain: "platform",
    owner: "owner",
    ownerName: "owner",
    ownerUserId: "owner",
  },
  subscription: {
    status: "platform",
    currentPeriodStart: "platform",
    currentPeriodEnd: "platform",
    lastPaymentStatus: "platform",
    cancelledAt: "platform",
  },
  // A tenant reports what it uses; how much it may use is its plan's to say.
  usage: { limit: "platform" },
};

/**
 * The members of a change that this tenant role may not touch. `metadata.legalHold` is the platform's:
 * a tenant cannot lift the hold it is under.
 */
export function forbiddenFields(kind: OwnRecord, role: TenantRole, change: Readonly<Record<string, unknown>>): string[] {
  const forbidden = Object.keys(change).filter((field) => {
    const holder = TENANT_FIELDS[kind][field];
    return holder === "platform" || (holder === "owner" && role !== "owner");
  }).map((field) => `/${field}`);
  const metadata = change["metadata"];
  // Null would drop the whole object, and the hold with it.
  if (kind === "tenant" && metadata === null) forbidden.push("/metadata");
  if (kind === "tenant" && typeof metadata === "object" && metadata !== null && "legalHold" in metadata) {
    forbidden.push("/metadata/legalHold");
  }
  return forbidden;
}
