import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { SqlArguments, SqlFunctionName } from "../../shared/kv/driver.ts";
import { withClient } from "../support/client.ts";
import { freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";
import { commit, groups, list, mine, page, resultOf, search, storeTwoTenants } from "./entry-points.ts";

let opened: OpenStore;
beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
  await storeTwoTenants(opened.store, opened.clock);
});
afterAll(() => opened.close());

const inSession = <T>(work: (client: pg.Client) => Promise<T>) => withClient(opened.database.appUrl, work);

const listOf = (tenant: unknown) => mine({ ...list, tenant });
const setOf = (tenant: string, key: string, more: object = {}) => ({ op: "set", tenant, key, value: { stolen: true }, ...more });
const addTo = (tenant: string, key: string, more: object = {}) => ({
  op: "increment",
  tenant,
  key,
  add: [{ path: '{"i"}', by: 100 }],
  ...more,
});
const initial = { initial: { value: { stolen: true } } };
const appendTo = { op: "append", tenant: "tn_a", key: "note:tn_b:3", add: [], path: '{"l"}', items: [1], ...initial };

/** Attempts to access another tenant. Each is refused, or neither returns nor changes its rows. */
const REACHES: readonly (readonly [string, SqlFunctionName, SqlArguments])[] = [
  ["a tenant name with a comma", "kv_tenant_list", listOf("tn_a,tn_b")],
  ["an empty tenant", "kv_tenant_list", listOf("")],
  ["no tenant", "kv_tenant_list", listOf(null)],
  ["a tenant name with a brace", "kv_tenant_list", listOf("{tn_b}")],
  ["a tenant name with a quote", "kv_tenant_list", listOf("tn_a' or true --")],
  ["more keys than tenants", "kv_tenant_mget", { tenants: ["tn_a"], keys: ["note:tn_b:1", "note:tn_b:2", "note:platform"] }],
  ["more tenants than keys", "kv_tenant_mget", { tenants: ["tn_a", "tn_a"], keys: ["note:tn_b:1"] }],
  ["a null among the tenants", "kv_tenant_mget", { tenants: ["tn_a", null], keys: ["note:platform", "note:tn_b:1"] }],
  ["a comma among the tenants", "kv_tenant_mget", { tenants: ["tn_a,tn_b"], keys: ["note:tn_b:1"] }],
  ["no tenants", "kv_tenant_mget", { tenants: [], keys: ["note:tn_b:1"] }],
  ["null for the tenants", "kv_tenant_mget", { tenants: null, keys: ["note:tn_b:1"] }],
  [
    "the other's owner in a query",
    "kv_tenant_query",
    mine({ query: { family: "note", owner: "tn_b", where: [], order: [], reverse: false, limit: 9 } }),
  ],
  [
    "the platform in a query",
    "kv_tenant_query",
    mine({ query: { family: "note", owner: null, where: [], order: [], reverse: false, limit: 9 } }),
  ],
  ...[{ owner: "tn_b" }, { owner: null }, { owner: ["tn_b"] }, {}].map((owner) =>
    [
      `the owner ${JSON.stringify(owner)} in a query that walks`,
      "kv_tenant_query",
      mine({ query: { family: "note", ...owner, walk: true, where: [], order: [], reverse: false, limit: 9 } }),
    ] as const
  ),
  ["the other's chain", "kv_tenant_chain_head", mine({ scope: "tn_b" })],
  ["another's key by set", "kv_tenant_write_many", { calls: [setOf("tn_b", "note:mine:b"), setOf("tn_a", "note:tn_b:1")] }],
  ["another's owner by set", "kv_tenant_write_many", {
    calls: [setOf("tn_b", "note:mine:b"), setOf("tn_a", "note:new", { owner: "tn_b" })],
  }],
  ["another's segment by set", "kv_tenant_write_many", { calls: [setOf("tn_b", "note:mine:b"), setOf("tn_a", "subscription:tn_b")] }],
  ["another's key by increment", "kv_tenant_write_many", { calls: [addTo("tn_b", "note:none:b"), addTo("tn_a", "note:tn_b:1")] }],
  ["another's key by increment with initial", "kv_tenant_write_many", {
    calls: [addTo("tn_b", "note:none:b"), addTo("tn_a", "note:tn_b:2", initial)],
  }],
  ["another's key by append", "kv_tenant_write_many", { calls: [addTo("tn_b", "note:none:b"), appendTo] }],
  ["another's owner by a delete with a value", "kv_tenant_write_many", {
    calls: [addTo("tn_b", "note:none:b"), setOf("tn_a", "note:odd", { op: "delete", owner: "tn_b" })],
  }],
  ["a call without tenant", "kv_tenant_write_many", {
    calls: [setOf("tn_a", "note:mine:a"), { op: "set", key: "note:platform", value: 1 }],
  }],
  ["another's key by commit", "kv_tenant_commit", mine({ ...commit("x"), mutations: [setOf("tn_b", "note:tn_b:1")] })],
  ["a cascade", "kv_tenant_commit", mine({ ...commit("x"), mutations: [{ op: "deleteOwner", tenantId: "tn_b" }] })],
  ["another's range", "kv_tenant_commit", mine({ ...commit("x"), mutations: [{ op: "deletePrefix", start: "", end: "~" }] })],
];

/** All rows of tenant b and of the platform, except those that the attempts write as tenant b. */
async function untouched(): Promise<unknown[]> {
  const sql =
    `select key, value, owner, version from kv.entries where (owner is distinct from 'tn_a' and key not like 'note:mine:%') or owner is null
    union all select 'owner ' || owner, null, deleted_at::text, null from kv.owners order by 1`;
  return (await withClient(opened.database.superUrl, (client) => client.query(sql))).rows;
}

test.each(REACHES)("K29: tenant a cannot read or change rows of tenant b with %s", async (_, name, args) => {
  const before = await untouched();
  const result = await inSession((client) => resultOf(client, name, args)).then(
    (value) => JSON.stringify(value),
    (error: pg.DatabaseError) => error.code,
  );
  expect(result).not.toMatch(/"of":"tn_b"|stolen|tn_b:[123]"?:\s*"?\d|"tn_b"/);
  expect(await untouched()).toEqual(before);
  expect(await inSession((client) => resultOf(client, "kv_get", { key: "tenant:tn_b" }))).not.toBeNull();
});

const EVIL = ["x') or true --", 'x"; drop table kv.entries; --', "\\'", "%s%L%I$1", "$$", "mrr) asc, (select 1", "a".repeat(300), "", null];
const INJECTIONS: readonly (readonly [string, (evil: string | null) => object])[] = [
  ["page", (evil) => ({ ...page, page: evil })],
  ["family", (evil) => ({ ...page, family: evil })],
  ["field", (evil) => ({ ...page, where: [{ field: evil, type: "text", in: ["active"] }] })],
  ["type", (evil) => ({ ...page, where: [{ field: "status", type: evil, in: ["active"] }] })],
  ["sort field", (evil) => ({ ...page, order: [{ field: evil, type: "number", desc: false }] })],
  ["sort type", (evil) => ({ ...page, order: [{ field: "mrr", type: evil, desc: false }] })],
  ["sort direction", (evil) => ({ ...page, order: [{ field: "mrr", type: "number", desc: evil }] })],
  ["leading field", (evil) => ({ ...page, prefix: [{ field: evil, type: "text" }] })],
  ["search field", (evil) => ({ ...search, search: { text: "x", fields: [evil] } })],
  ["limit", (evil) => ({ ...page, limit: evil })],
  ["offset", (evil) => ({ ...page, offset: evil })],
  ["colons", (evil) => ({ ...page, colons: evil })],
  ["reverse", (evil) => ({ ...page, reverse: evil })],
  ["value", (evil) => ({ ...page, where: [{ field: "status", type: "text", in: [evil] }] })],
  ["prefix", (evil) => ({ ...page, where: [{ field: "region", type: "text", prefix: evil }] })],
  ["cursor", (evil) => ({ ...page, after: [evil, evil] })],
  ["group", (evil) => ({ ...groups, groupBy: [evil] })],
  ["sum", (evil) => ({ ...groups, sum: evil })],
];

test.each(INJECTIONS)("K29: text as a query's %s is data or refused, never SQL", async (_, query) => {
  const before = await untouched();
  await inSession(async (client) => {
    for (const evil of EVIL) {
      for (const name of ["kv_query", "kv_total", "kv_aggregate"] as const) {
        await resultOf(client, name, { query: query(evil) }).catch((error: unknown) => error);
        const ofTenant = `kv_tenant_${name.slice(3)}` as SqlFunctionName;
        for (const own of [query(evil), ...(name === "kv_query" ? [{ ...query(evil), owner: "tn_a", walk: true }] : [])]) {
          const result = await resultOf(client, ofTenant, mine({ query: own })).then(
            (value) => JSON.stringify(value),
            (error: pg.DatabaseError) => error.code,
          );
          // Invalid input, a failed cast or a missing limit: no injected statement, and no row of another tenant.
          expect([evil, result]).not.toEqual([evil, expect.stringMatching(/"tn_b"|^42(P01|501|703|883)$/)]);
        }
      }
    }
  });
  expect(await untouched()).toEqual(before);
});
