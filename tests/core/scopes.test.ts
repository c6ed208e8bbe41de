import { describe, expect, test } from "vitest";
import { forbiddenFields } from "../../shared/core/fields.ts";
import { ADMIN_ROLES, covers, isTenantRole, scopeCatalogue, TENANT_ROLES } from "../../shared/core/scopes.ts";
import { scopes } from "../../shared/features/index.ts";
import { subscription } from "../../shared/features/subscriptions/entity.ts";
import { tenant } from "../../shared/features/tenants/entity.ts";
import { forbiddenMetadata } from "../../shared/features/tenants/rules.ts";

/** Every trait a resource can have. */
const catalogue = scopeCatalogue({
  notes: { tenants: "write" },
  invoices: { tenants: "read" },
  notices: { tenants: "write", supportWrites: true },
  billing: { tenants: "write", ownerOnly: true },
  settings: { tenants: "none" },
  secrets: { tenants: "none", secret: true },
  staff: { tenants: "none", superAdminWrites: true },
  kv: { tenants: "none", superAdminOnly: true },
  news: { tenants: "read", supportWrites: true },
  tickets: { tenants: "none", supportWrites: true },
});

/** Columns: super_admin admin support read_only | viewer staff admin owner. */
const TRAITS: readonly (readonly [string, string])[] = [
  ["read:notes", "yyyy yyyy"],
  ["write:notes", "yynn nnyy"],
  ["read:invoices", "yyyy yyyy"],
  ["write:invoices", "yynn nnnn"],
  ["read:notices", "yyyy yyyy"],
  ["write:notices", "yyyn nyyy"],
  ["read:billing", "yyyy yyyy"],
  ["write:billing", "yynn nnny"],
  ["read:settings", "yyyy nnnn"],
  ["write:settings", "yynn nnnn"],
  ["read:secrets", "yyyn nnnn"],
  ["write:secrets", "yynn nnnn"],
  ["read:staff", "yyyy nnnn"],
  ["write:staff", "ynnn nnnn"],
  ["read:kv", "ynnn nnnn"],
  ["write:kv", "ynnn nnnn"],
  ["read:news", "yyyy yyyy"],
  ["write:news", "yyyn nnnn"],
  ["read:tickets", "yyyy nnnn"],
  ["write:tickets", "yyyn nnnn"],
];

/** All scopes. */
const TABLE: readonly (readonly [string, string])[] = [
  ["read:tenants", "yyyy yyyy"],
  ["write:tenants", "yynn nnyy"],
  ["read:plans", "yyyy yyyy"],
  ["write:plans", "yynn nnnn"],
  ["read:subscriptions", "yyyy yyyy"],
  ["write:subscriptions", "yynn nnny"],
  ["read:metrics", "yyyy yyyy"],
  ["write:metrics", "yynn nnnn"],
  ["read:usage", "yyyy yyyy"],
  ["write:usage", "yynn nnnn"],
  ["read:closings", "yyyy nnnn"],
  ["write:closings", "yynn nnnn"],
  ["read:reservations", "yyyy yyyy"],
  ["write:reservations", "yynn nnnn"],
  ["read:alerts", "yyyy yyyy"],
  ["write:alerts", "yynn nnyy"],
  ["read:notifications", "yyyy yyyy"],
  ["write:notifications", "yyyn nyyy"],
  ["read:emails", "yyyn nnnn"],
  ["write:emails", "yynn nnnn"],
  ["read:entitlements", "yyyy yyyy"],
  ["write:entitlements", "yynn nnnn"],
  ["read:flags", "yyyy yyyy"],
  ["write:flags", "yynn nnnn"],
  ["read:revenue", "yyyy nnnn"],
  ["write:revenue", "yynn nnnn"],
  ["read:policies", "yyyy nnnn"],
  ["write:policies", "yynn nnnn"],
  ["read:legal-holds", "yyyy nnnn"],
  ["write:legal-holds", "yynn nnnn"],
  ["read:compliance", "yyyn nnyy"],
  ["write:compliance", "yynn nnyy"],
  ["read:audit", "yyyy yyyy"],
  ["write:audit", "yynn nnyy"],
  ["read:audit-sinks", "yyyy nnnn"],
  ["write:audit-sinks", "yynn nnnn"],
  ["read:admins", "yyyy nnnn"],
  ["write:admins", "ynnn nnnn"],
  ["read:settings", "yyyy nnnn"],
  ["write:settings", "yynn nnnn"],
  ["read:invoices", "yyyy yyyy"],
  ["write:invoices", "yynn nnnn"],
  ["read:events", "yyyy yyyy"],
  ["write:events", "yynn nnnn"],
  ["read:plan-migrations", "yyyy nnnn"],
  ["write:plan-migrations", "yynn nnnn"],
  ["read:api-keys", "yyyn nnyy"],
  ["write:api-keys", "yynn nnyy"],
  ["read:webhooks", "yyyy yyyy"],
  ["write:webhooks", "yynn nnyy"],
  ["read:erasures", "yyyy nnnn"],
  ["write:erasures", "yynn nnnn"],
  ["read:dashboard", "yyyy nnnn"],
  ["write:dashboard", "yynn nnnn"],
  ["read:root-keys", "yyyy nnnn"],
  ["write:root-keys", "yynn nnnn"],
  ["read:integrations", "yyyy yyyy"],
  ["write:integrations", "yynn nnyy"],
  ["read:connector-events", "yyyy yyyy"],
  ["write:connector-events", "yynn nnnn"],
  ["read:jobs", "yyyy nnnn"],
  ["write:jobs", "yynn nnnn"],
];

describe("scopes", () => {
  test.each([["of every trait", catalogue, TRAITS], ["of the program", scopes, TABLE]] as const)(
    "R13: %s are held by exactly the roles of the table, and the table names every scope",
    (_what, { all, ofAdmin, ofTenant }, table) => {
      expect(table.map(([scope]) => scope).sort()).toEqual([...all].sort());
      const roles = [...ADMIN_ROLES.map((role) => ofAdmin(role)), ...TENANT_ROLES.map((role) => ofTenant(role))];
      for (const [scope, row] of table) {
        const held = roles.map((of) => of.has(scope) ? "y" : "n").join("");
        expect(`${scope} ${held.slice(0, 4)} ${held.slice(4)}`).toBe(`${scope} ${row}`);
      }
    },
  );

  test("R13: permissions add to a role, wildcards stand for what they say and unknown grants for nothing", () => {
    const { all, grants, expand, ofAdmin } = catalogue;
    expect(ofAdmin("read_only", ["write:notes"]).has("write:notes")).toBe(true);
    expect(covers(expand(["*"]), new Set(all))).toBe(true);
    expect([...expand(["write:*"])].every((scope) => scope.startsWith("write:"))).toBe(true);
    expect(expand(["read:*", "write:*"]).has("read:kv")).toBe(false);
    expect(expand(["write:everything", "READ:notes", "read:", "**", "constructor"]).size).toBe(0);
    expect(grants).toEqual(["*", "read:*", "write:*", ...all]);
  });

  test("R13: read:* and write:* stand for every read and every write but those of the super_admin alone", () => {
    const { all, expand } = catalogue;
    for (const kind of ["read", "write"]) {
      const meant = all.filter((scope) => scope.startsWith(`${kind}:`) && !scope.endsWith(":kv"));
      expect([...expand([`${kind}:*`])].sort()).toEqual(meant.sort());
    }
    expect([...expand(["read:notes", "write:kv"])].sort()).toEqual(["read:notes", "write:kv"]);
  });

  test("R13: the grant * is more than all present scopes, and only a super_admin or a grant of * has it", () => {
    const { all, expand, ofAdmin } = catalogue;
    const holders = [ofAdmin("super_admin"), expand(["*"]), ofAdmin("read_only", ["*"])];
    for (const scopes of holders) expect([...scopes].sort()).toEqual(["*", ...all].sort());
    for (const scopes of [expand(all), expand(["read:*", "write:*"]), ofAdmin("admin"), ofAdmin("admin", all)]) {
      expect(scopes.has("*")).toBe(false);
      expect(covers(scopes, expand(["*"]))).toBe(false);
    }
  });

  test.each([
    [["read:notes"], ["read:notes"], true],
    [["read:notes", "write:notes"], ["write:notes"], true],
    [["read:notes"], [], true],
    [[], [], true],
    [[], ["read:notes"], false],
    [["read:notes"], ["read:notes", "write:notes"], false],
    [["read:notes"], ["write:notes", "read:notes"], false],
  ])("R11: a caller with %j may grant %j: %s", (own, asked, may) => {
    expect(covers(new Set(own), new Set(asked))).toBe(may);
  });

  test("R05: a tenant's user is a viewer, staff, admin or owner, and nothing else is a role", () => {
    for (const role of ["viewer", "staff", "admin", "owner"]) expect(isTenantRole(role)).toBe(true);
    for (const other of ["super_admin", "Owner", "", "toString", null, undefined, 1, ["owner"]]) expect(isTenantRole(other)).toBe(false);
  });

  test("R11: a tenant's admin changes neither status, revenue nor owner, its owner neither status nor revenue, and neither a legal hold", () => {
    const change = {
      name: "x",
      status: "active",
      plan: "Pro",
      mrr: 1,
      customDomain: "a.example",
      owner: "a@b.example",
      metadata: { legalHold: false },
    };
    expect([...forbiddenFields(tenant, "admin", change), ...forbiddenMetadata(change.metadata)]).toEqual([
      "/customDomain",
      "/plan",
      "/status",
      "/owner",
      "/mrr",
      "/metadata/legalHold",
    ]);
    expect([...forbiddenFields(tenant, "owner", change), ...forbiddenMetadata(change.metadata)]).toEqual([
      "/customDomain",
      "/plan",
      "/status",
      "/mrr",
      "/metadata/legalHold",
    ]);
    expect(forbiddenMetadata(null)).toEqual(["/metadata"]);
    expect(forbiddenFields(tenant, "owner", { name: "x", metadata: { note: 1 }, ownerName: "Ada" })).toEqual([]);
    expect(forbiddenFields(subscription, "owner", { planId: "Pro", status: "active", currentPeriodEnd: "x" })).toEqual([
      "/status",
      "/currentPeriodEnd",
    ]);
  });
});
