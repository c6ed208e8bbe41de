import { describe, expect, test } from "vitest";
import { ADMIN_ROLES } from "../../shared/entities/admin-user.ts";
import { assertMayAdminister } from "../../shared/policies/admin-grants.ts";
import {
  adminScopes,
  ALL_SCOPES,
  covers,
  expandGrants,
  forbiddenFields,
  GRANTS,
  isTenantRole,
  type Scope,
  TENANT_ROLES,
  tenantScopes,
} from "../../shared/policies/scopes.ts";

const ROLES = {
  ...Object.fromEntries(ADMIN_ROLES.map((role) => [role, adminScopes(role)])),
  ...Object.fromEntries(TENANT_ROLES.map((role) => [`tenant ${role}`, tenantScopes(role)])),
};

/** Columns: super_admin admin support read_only | viewer staff admin owner. */
const TABLE: readonly (readonly [Scope, string])[] = [
  ["read:tenants", "yyyy yyyy"],
  ["write:tenants", "yynn nnyy"],
  ["read:subscriptions", "yyyy yyyy"],
  ["write:subscriptions", "yynn nnny"],
  ["read:usage", "yyyy yyyy"],
  ["write:usage", "yynn nyyy"],
  ["read:alerts", "yyyy yyyy"],
  ["write:alerts", "yynn nnyy"],
  ["read:integrations", "yyyy yyyy"],
  ["write:integrations", "yynn nnyy"],
  ["read:webhooks", "yyyy yyyy"],
  ["write:webhooks", "yynn nnyy"],
  ["read:api-keys", "yyyy yyyy"],
  ["write:api-keys", "yynn nnyy"],
  ["read:compliance", "yyyy yyyy"],
  ["write:compliance", "yynn nnyy"],
  ["read:notifications", "yyyy yyyy"],
  ["write:notifications", "yyyn nyyy"],
  ["read:plans", "yyyy yyyy"],
  ["write:plans", "yynn nnnn"],
  ["read:invoices", "yyyy yyyy"],
  ["write:invoices", "yynn nnnn"],
  ["read:flags", "yyyy yyyy"],
  ["write:flags", "yynn nnnn"],
  ["read:audit", "yyyy yyyy"],
  ["write:audit", "yynn nnnn"],
  ["read:secrets", "yyyn nnnn"],
  ["write:secrets", "yynn nnnn"],
  ["read:policies", "yyyy nnnn"],
  ["write:policies", "yynn nnnn"],
  ["read:settings", "yyyy nnnn"],
  ["write:settings", "yynn nnnn"],
  ["read:admins", "yyyy nnnn"],
  ["write:admins", "ynnn nnnn"],
  ["read:dashboard", "yyyy nnnn"],
  ["write:dashboard", "yynn nnnn"],
  ["read:kv", "ynnn nnnn"],
  ["write:kv", "ynnn nnnn"],
];

describe("scopes", () => {
  test("R13: every role has exactly the scopes of the table, and the table names every scope", () => {
    expect(TABLE.map(([scope]) => scope).sort()).toEqual([...ALL_SCOPES].sort());
    for (const [scope, row] of TABLE) {
      const held = Object.values(ROLES).map((scopes) => scopes.has(scope) ? "y" : "n").join("");
      expect(`${scope} ${held.slice(0, 4)} ${held.slice(4)}`).toBe(`${scope} ${row}`);
    }
  });

  test("R13: permissions add to a role, wildcards stand for what they say and unknown grants for nothing", () => {
    expect(adminScopes("read_only", ["write:plans"]).has("write:plans")).toBe(true);
    expect(covers(expandGrants(["*"]), new Set(ALL_SCOPES))).toBe(true);
    expect([...expandGrants(["write:*"])].every((scope) => scope.startsWith("write:"))).toBe(true);
    expect(expandGrants(["read:*", "write:*"]).has("read:kv")).toBe(false);
    expect(expandGrants(["write:everything", "READ:plans", "read:", "**", "constructor"]).size).toBe(0);
    expect(GRANTS).toEqual(["*", "read:*", "write:*", ...ALL_SCOPES]);
  });

  test("R13: read:* and write:* stand for every read and every write but those of the super_admin alone", () => {
    const but = (kind: string) => ALL_SCOPES.filter((scope) => scope.startsWith(`${kind}:`) && !scope.endsWith(":kv"));
    expect([...expandGrants(["read:*"])].sort()).toEqual(but("read").sort());
    expect([...expandGrants(["write:*"])].sort()).toEqual(but("write").sort());
    expect([...expandGrants(["read:plans", "write:kv"])]).toEqual(["read:plans", "write:kv"]);
  });

  test("R13: a role without permissions beyond it has the role's own scopes", () => {
    for (const role of ADMIN_ROLES) expect(adminScopes(role)).toBe(adminScopes(role, []));
    expect([...adminScopes("read_only", ["read:plans"])]).toEqual([...adminScopes("read_only")]);
  });

  test("R05: a tenant's user is a viewer, staff, admin or owner, and nothing else is a role", () => {
    for (const role of ["viewer", "staff", "admin", "owner"]) expect(isTenantRole(role)).toBe(true);
    for (const other of ["super_admin", "Owner", "", "toString", null, undefined, 1, ["owner"]]) expect(isTenantRole(other)).toBe(false);
  });

  test("R11: these members of its own records are the platform's, these its owner's, and all others its admin's too", () => {
    const held = {
      tenant: {
        platform: ["status", "plan", "mrr", "usagePercent", "trialEndsAt", "suspensionReason", "customDomain"],
        owner: ["owner", "ownerName", "ownerUserId"],
        admin: ["name", "billingEntity", "subdomain", "region", "branding", "settings", "metadata"],
      },
      subscription: {
        platform: ["status", "currentPeriodStart", "currentPeriodEnd", "lastPaymentStatus", "cancelledAt"],
        owner: [],
        admin: ["planId", "cancelAtPeriodEnd", "paymentMethod", "metadata"],
      },
      usage: { platform: ["limit"], owner: [], admin: ["value", "amount", "period"] },
    } as const;
    for (const kind of ["tenant", "subscription", "usage"] as const) {
      const { platform, owner, admin } = held[kind];
      const change = Object.fromEntries([...platform, ...owner, ...admin].map((field) => [field, "x"]));
      const pointers = (fields: readonly string[]) => fields.map((field) => `/${field}`);
      expect(forbiddenFields(kind, "owner", change)).toEqual(pointers(platform));
      for (const role of ["viewer", "staff", "admin"] as const) {
        expect(forbiddenFields(kind, role, change)).toEqual(pointers([...platform, ...owner]));
      }
    }
  });

  test("R11: a legal hold stands in a tenant's metadata alone", () => {
    for (const kind of ["subscription", "usage"] as const) {
      for (const metadata of [null, { legalHold: true }, "legalHold"]) expect(forbiddenFields(kind, "owner", { metadata })).toEqual([]);
    }
    for (const metadata of ["legalHold", 1, true, undefined, []]) expect(forbiddenFields("tenant", "owner", { metadata })).toEqual([]);
  });

  test("R11: a tenant's admin changes neither state nor money nor owner, its owner no state and no money, and nobody a legal hold", () => {
    const change = {
      name: "x",
      status: "active",
      plan: "Pro",
      mrr: 1,
      customDomain: "a.example",
      owner: "a@b.example",
      metadata: { legalHold: false },
    };
    expect(forbiddenFields("tenant", "admin", change)).toEqual([
      "/status",
      "/plan",
      "/mrr",
      "/customDomain",
      "/owner",
      "/metadata/legalHold",
    ]);
    expect(forbiddenFields("tenant", "owner", change)).toEqual(["/status", "/plan", "/mrr", "/customDomain", "/metadata/legalHold"]);
    expect(forbiddenFields("tenant", "owner", { metadata: null })).toEqual(["/metadata"]);
    expect(forbiddenFields("tenant", "owner", { name: "x", metadata: { note: 1 }, ownerName: "Ada" })).toEqual([]);
    expect(forbiddenFields("subscription", "owner", { planId: "Pro", status: "active", currentPeriodEnd: "x" })).toEqual([
      "/status",
      "/currentPeriodEnd",
    ]);
  });

  test("R11: a tenant says what it uses, and not even its owner how much it may use", () => {
    for (const role of TENANT_ROLES) {
      expect(forbiddenFields("usage", role, { value: 1, period: "2026-01" })).toEqual([]);
      for (const limit of [1, null]) expect(forbiddenFields("usage", role, { value: 1, limit })).toEqual(["/limit"]);
    }
  });

  test("R11: nobody edits their own role or permissions, and nobody gives or takes what is beyond them", () => {
    const standing = (userId: string, role: "super_admin" | "admin" | "support", permissions: string[] = []) => ({
      userId,
      role,
      permissions,
    });
    const deputy = { userId: "deputy", scopes: adminScopes("admin", ["write:admins"]) };
    const allowed = (before: ReturnType<typeof standing> | null, after: ReturnType<typeof standing> | null, own = deputy) => {
      try {
        assertMayAdminister(own, before, after);
        return true;
      } catch (error) {
        expect(error).toMatchObject({ code: "forbidden" });
        return false;
      }
    };
    expect(allowed(null, standing("new", "support"))).toBe(true);
    expect(allowed(null, standing("new", "super_admin"))).toBe(false);
    expect(allowed(null, standing("new", "support", ["*"]))).toBe(false);
    expect(allowed(standing("boss", "super_admin"), null)).toBe(false);
    expect(allowed(standing("boss", "super_admin"), standing("boss", "support"))).toBe(false);
    expect(allowed(standing("deputy", "admin", ["write:admins"]), standing("deputy", "admin", ["write:admins", "read:plans"]))).toBe(false);
    expect(allowed(standing("deputy", "admin", ["write:admins"]), standing("deputy", "admin", ["write:admins"]))).toBe(true);
    const boss = { userId: "boss", scopes: adminScopes("super_admin") };
    expect(allowed(standing("boss", "super_admin"), standing("boss", "support"), boss)).toBe(false);
    expect(allowed(standing("other", "super_admin"), standing("other", "support"), boss)).toBe(true);
  });
});
