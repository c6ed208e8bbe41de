import type pg from "pg";
import { SQL_FUNCTIONS } from "../../shared/kv/driver.ts";
import type { SqlArguments, SqlFunctionName } from "../../shared/kv/driver.ts";
import type { Store } from "../../shared/kv/store.ts";
import type { TestClock } from "../support/store.ts";

export const NOW = "2026-03-01T12:00:00.000Z";

/** Rows of every kind, of two tenants and the platform. */
export async function storeTwoTenants(store: Store, clock: TestClock): Promise<void> {
  for (const id of ["tn_a", "tn_b"]) {
    await store.set(`tenant:${id}`, {
      id,
      name: `Hôtel 100%_\\ ${id}`,
      status: "active",
      region: "us-east-1",
      mrr: 0.1,
      createdAt: clock.iso(),
    });
    await store.mset([[`usage:${id}:rooms:2026-03`, { current: 1 }], [`subscription:${id}`, { tenantId: id, status: "active" }]]);
    for (const i of [1, 2, 3]) await store.set(`note:${id}:${i}`, { of: id, i }, { tenantId: id, expiresAt: clock.iso(90_000) });
    await store.set(`invoice:${id}:inv_1`, { tenantId: id, issuedAt: NOW });
    await store.set(`audit:${id}:${NOW}:x`, { contentHash: "c".repeat(64), seq: 0 });
  }
  await store.mset([["plan:Pro", { id: "Pro", name: "Pro", createdAt: clock.iso() }], ["note:platform", { n: 1 }]]);
}

const where = [{ field: "status", type: "text", in: ["active"] }, { field: "region", type: "text", prefix: "us-" }, {
  field: "mrr",
  type: "number",
  from: 0.1,
  to: 5,
}];
export const page = {
  family: "tenant",
  colons: 1,
  where,
  order: [{ field: "createdAt", type: "time", desc: true }],
  reverse: true,
  limit: 5,
};
const kept = { ...page, where: where.slice(0, 1), prefix: [{ field: "status", type: "text" }], page: "tenant_status_created_at_desc" };
export const search = {
  family: "tenant",
  where: [],
  search: { text: "hotel 100%_\\", fields: ["name", "subdomain", "owner", "ownerName"] },
  order: [],
  reverse: false,
  limit: 5,
};
export const groups = { family: "tenant", colons: 1, where: where.slice(0, 1), groupBy: ["status"], sum: "mrr" };
const claim = {
  family: "invoice",
  colons: 2,
  where: [],
  due: "issuedAt",
  now: NOW,
  until: "2026-03-01T12:03:00.000Z",
  set: { "é\\\"'": [1.5, null] },
  limit: 1,
};
const rollup = { ...groups, rollup: { name: "tenant", keep: [0], where: [] } };
export const list = { start: "note:", end: "note;", reverse: true, limit: 3, keys_only: false };
const mutations = (prefix: string) => [
  { op: "set", key: `${prefix}:set`, value: { at: NOW, "é\\\"'": [1.5, null] }, expiresAt: "2026-04-01T00:00:00.000Z" },
  {
    op: "increment",
    key: `${prefix}:sum`,
    add: [{ path: '{"n","null"}', to: 0.30000000000000004 }],
    initial: { value: {} },
    merge: { m: 1 },
  },
  { op: "append", key: `${prefix}:log`, add: [], path: '{"l"}', items: ["NULL"], cap: 1, initial: { value: {} } },
  { op: "delete", key: `${prefix}:none` },
];
const calls = (prefix: string) => mutations(prefix).slice(0, 2);
export const commit = (prefix: string) => ({
  checks: [{ key: `${prefix}:none`, version: null }],
  mutations: mutations(prefix),
  lock_timeout_ms: 5_000,
});
export const mine = (args: SqlArguments) => ({ tenant: "tn_a", ...args });

/** Valid arguments for every entry point, none omitted. */
export const CALLS: Readonly<Record<SqlFunctionName, readonly SqlArguments[]>> = {
  kv_get: [{ key: "note:tn_a:1" }, { key: "tenant:tn_b" }],
  kv_mget: [{ keys: ["note:tn_a:1", "plan:Pro", "none:x", "tenant:tn_a"] }],
  kv_list: [list, { ...list, reverse: false, keys_only: true }],
  kv_count: [{ start: "", end: "\u007f" }],
  kv_query: [{ query: page }, { query: kept }, { query: search }],
  kv_total: [{ query: page }, { query: search }],
  kv_aggregate: [{ query: groups }, { query: rollup }],
  kv_read_all: [{
    reads: [
      { aggregate: groups, rollup: { name: "tenant" } },
      { aggregate: groups, rollup: { name: "movement", from: "2026-01" } },
      { aggregate: groups },
      { query: page },
      { total: search },
    ],
  }],
  kv_commit: [commit("iso")],
  kv_write_many: [{ calls: calls("iso") }],
  kv_sweep: [{ limit: 10, except: [] }, { limit: 10, except: ["tn_a"] }],
  kv_fold_rollups: [{}],
  kv_claim: [{ claim: { ...claim, perTenant: 1 } }, { claim }],
  kv_take: [{ takes: [{ key: "ratelimit:iso", capacity: 10, window: 60, cost: 30, wanted: 1 }], wait: false }],
  kv_ping: [{}],
  kv_chain_head: [{ scope: "tn_a" }],
  kv_chain_heads: [{ after: null, limit: 10 }, { after: "tn_a", limit: 1 }],
  kv_tenant_chain_head: [mine({ scope: "tn_a" }), mine({ scope: "tn_b" })],
  kv_tenant_mget: [{ tenants: ["tn_a", "tn_a", "tn_b"], keys: ["note:tn_a:1", "note:tn_b:1", "note:tn_b:1"] }],
  kv_tenant_list: [mine(list)],
  kv_tenant_count: [mine({ start: "", end: "\u007f" })],
  kv_tenant_query: [mine({ query: page }), mine({ query: search })],
  kv_tenant_total: [mine({ query: page })],
  kv_tenant_aggregate: [mine({ query: groups })],
  kv_tenant_commit: [mine(commit("iso-a"))],
  kv_tenant_write_many: [{ calls: calls("iso-a").map((call) => ({ ...call, tenant: "tn_a" })) }],
};
export const NAMES = Object.keys(SQL_FUNCTIONS) as SqlFunctionName[];
const BUILT_IN: Readonly<Record<string, string>> = { boolean: "bool", integer: "int4", "text[]": "_text" };

/** The types are qualified, so that the caller's statement refers to no object of the session. */
function statement(name: SqlFunctionName, args: SqlArguments): pg.QueryConfig {
  const all: SqlArguments = { now: NOW, ...args };
  const parameters = Object.entries(SQL_FUNCTIONS[name]);
  const text = `select public.${name}(${
    parameters.map(([, type], i) => `$${i + 1}::pg_catalog.${BUILT_IN[type] ?? type}`).join(", ")
  }) as value`;
  return { text, values: parameters.map(([parameter, type]) => (type === "jsonb" ? JSON.stringify(all[parameter]) : all[parameter])) };
}

export async function resultOf(client: pg.Client, name: SqlFunctionName, args: SqlArguments): Promise<unknown> {
  const { rows } = await client.query<{ value: unknown }>(statement(name, args));
  // Every write has another version.
  return JSON.parse(
    JSON.stringify(
      rows[0]?.value ?? null,
      (member, value: unknown) => {
        if (member === "version" && name === "kv_claim") return "";
        // By the server's clock.
        if (name === "kv_take" && (member === "at" || member === "had")) return 0;
        return member === "versions" ? Object.keys(value as object).sort() : value;
      },
    ),
  );
}
