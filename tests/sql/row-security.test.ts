import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { WireEntry } from "../../shared/kv/row.ts";
import { seededRandom } from "../support/random.ts";
import { freshStore } from "../support/store.ts";
import { postgresMajor } from "../support/postgres.ts";
import type { OpenStore } from "../support/store.ts";

let opened: OpenStore;
let admin: pg.Client;
/** The owner in an entry that the SQL functions return. */
const NOW = "2026-03-01T12:00:00.000Z";

beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
  admin = new pg.Client({ connectionString: opened.database.superUrl });
  await admin.connect();
  for (const tenant of ["tn_a", "tn_b"]) {
    await opened.store.mset([[`tenant:${tenant}`, { id: tenant }], [`usage:${tenant}:users:2026-03`, { current: 1 }]]);
    for (let i = 0; i < 50; i++) await opened.store.set(`note:${tenant}:${i}`, { of: tenant }, { tenantId: tenant });
  }
  await opened.store.mset([["plan:Pro", { id: "Pro" }], ["admin:u1", { userId: "u1" }], ["note:platform", 1]]);
});

afterAll(async () => {
  await admin.end();
  await opened.close();
});

/** Runs a statement as the role of the tenant entry points, with a tenant or none, and rolls it back. */
async function asTenant(tenant: string | null, sql: string, role = "kv_tenant", setting?: string): Promise<pg.QueryResult | string> {
  await admin.query("begin");
  try {
    if (setting !== undefined) await admin.query(`set local ${setting}`);
    await admin.query(`set local role ${role}`);
    if (tenant !== null) await admin.query("select set_config('kv.tenants', $1, true)", [tenant]);
    return await admin.query(sql);
  } catch (error) {
    return (error as pg.DatabaseError).code ?? String(error);
  } finally {
    await admin.query("rollback");
  }
}

const rowsOf = (result: pg.QueryResult | string) => (typeof result === "string" ? result : result.rowCount);

test("R09: row-level security is enabled and forced on every table of kv, and of every schema the API exposes", async () => {
  const { rows } = await admin.query(
    `select oid::regclass::text as name from pg_class where relkind in ('r', 'p') and relnamespace in ('kv'::regnamespace, 'public'::regnamespace)
       and not (relrowsecurity and relforcerowsecurity)`,
  );
  expect(rows).toEqual([]);
  const { rows: views } = await admin.query(
    "select relname from pg_class where relkind in ('v', 'm') and relnamespace in ('kv'::regnamespace, 'public'::regnamespace)",
  );
  expect(views).toEqual([]);
});

// Of sessions and our settings, which are the same on the older server.
test.runIf(postgresMajor() === 18)(
  "R07: 10,000 alternating calls of two tenants on one backend, with errors and service calls between, return no foreign row",
  async () => {
    const random = seededRandom("R07");
    const client = new pg.Client({ connectionString: opened.database.appUrl });
    await client.connect();
    const keys = ["tn_a", "tn_b"].flatMap((tenant) => [`tenant:${tenant}`, `usage:${tenant}:users:2026-03`, `note:${tenant}:7`]);
    const read = { name: "read", text: "select public.kv_tenant_mget(array_fill($1::text, array[6]), $2, $3) as found" };
    let crossings = 0;
    for (let i = 0; i < 10_000; i++) {
      const tenant = i % 2 ? "tn_a" : "tn_b";
      const { rows: [row] } = await client.query<{ found: readonly WireEntry[] }>({ ...read, values: [tenant, keys, NOW] });
      if (row?.found.length !== 3 || row.found.some(({ owner }) => owner !== tenant)) crossings++;
      const roll = random.below(40);
      if (roll === 0) {
        await client.query("select public.kv_tenant_commit($1, '[]', $2, 5000, $3)", [
          tenant,
          '[{"op":"set","key":"subscription:tn_zzz","value":{}}]',
          NOW,
        ]).catch(() => undefined);
      }
      if (roll === 1) {
        await client.query("select public.kv_tenant_list($1, 'note:', 'note;', false, 5, true, 'not a time')", [tenant]).catch(() =>
          undefined
        );
      }
      if (roll === 2) await client.query("select public.kv_get('note:platform', $1)", [NOW]);
      if (roll === 3) {
        await client.query("begin");
        await client.query({ ...read, values: [tenant === "tn_a" ? "tn_b" : "tn_a", keys, NOW] });
        await client.query(random.below(2) ? "commit" : "rollback");
      }
      if (roll === 4) {
        const { rows: [setting] } = await client.query("select coalesce(current_setting('kv.tenants', true), '') as tenant");
        if ((setting as { tenant: string }).tenant !== "") crossings++;
      }
    }
    await client.end();
    expect(crossings).toBe(0);
  },
);

test("R07: a tenant set by the session has no effect, with a tenant call or without", async () => {
  const client = new pg.Client({ connectionString: opened.database.appUrl });
  await client.connect();
  await client.query("set kv.tenants = 'tn_b'");
  const { rows: [row] } = await client.query<{ page: WireEntry[] }>(
    "select public.kv_tenant_list('tn_a', 'note:', 'note;', false, 500, false, $1) as page",
    [NOW],
  );
  expect(new Set(row?.page.map(({ owner }) => owner))).toEqual(new Set(["tn_a"]));
  for (const tenant of ["", null, "tn_a,tn_b", "tn_a tn_b"]) {
    const call = client.query("select public.kv_tenant_list($1, 'note:', 'note;', false, 500, false, $2)", [tenant, NOW]);
    await expect(call).rejects.toMatchObject({ code: "KV001" });
  }
  await client.end();
});

test("R07: the tenant of a call does not remain for the next statement of its transaction", async () => {
  const client = new pg.Client({ connectionString: opened.database.appUrl });
  await client.connect();
  await client.query("begin");
  const calls = [
    "kv_tenant_list('tn_a', 'note:', 'note;', false, 500, false, now())",
    "kv_tenant_count('tn_a', 'note:', 'note;', now())",
    "kv_tenant_mget(array['tn_a', 'tn_b'], array['note:tn_a:1', 'note:tn_b:1'], now())",
    'kv_tenant_query(\'tn_a\', \'{"family":"note","where":[],"order":[],"reverse":false,"limit":5}\', now())',
    'kv_tenant_total(\'tn_a\', \'{"family":"note","where":[]}\', now())',
    'kv_tenant_aggregate(\'tn_a\', \'{"family":"note","where":[],"groupBy":[]}\', now())',
    'kv_tenant_commit(\'tn_a\', \'[]\', \'[{"op":"set","key":"note:tn_a:1","value":{"of":"tn_a"},"owner":"tn_a"}]\', 5000, now())',
    'kv_tenant_write_many(\'[{"tenant":"tn_a","op":"set","key":"note:tn_a:1","value":{"of":"tn_a"}}]\', now())',
    "kv_tenant_chain_head('tn_a', 'tn_a')",
  ];
  for (const call of calls) {
    await client.query(`select public.${call}`);
    const { rows } = await client.query("select coalesce(current_setting('kv.tenants', true), '') as tenant");
    expect([call, rows]).toEqual([call, [{ tenant: "" }]]);
  }
  await client.query("rollback");
  await client.end();
});

test("K29: an entry point uses no type, function, operator or table of its session", async () => {
  const [honest, hostile] = [
    new pg.Client({ connectionString: opened.database.appUrl }),
    new pg.Client({ connectionString: opened.database.appUrl }),
  ];
  await Promise.all([honest.connect(), hostile.connect()]);
  const query = JSON.stringify({
    family: "note",
    where: [{ field: "of", type: "text", in: ["tn_a"] }],
    order: [],
    reverse: false,
    limit: 21,
  });
  const deletion = '[{"op":"delete","key":"note:none"}]';
  // Only parameters, because literals in a call are resolved with the session's objects.
  const calls: readonly (readonly [name: string, ...args: unknown[]])[] = [
    ["kv_query", query, NOW],
    ["kv_tenant_query", "tn_a", query, NOW],
    ["kv_total", query, NOW],
    ["kv_tenant_total", "tn_a", query, NOW],
    ["kv_list", "note:", "note;", false, 10, false, NOW],
    ["kv_tenant_list", "tn_a", "note:", "note;", false, 10, false, NOW],
    ["kv_mget", ["note:tn_a:1"], NOW],
    ["kv_tenant_mget", ["tn_a"], ["note:tn_a:1"], NOW],
    ["kv_commit", "[]", deletion, 5000, NOW],
    ["kv_tenant_commit", "tn_a", "[]", deletion, 5000, NOW],
  ];
  const results = async (client: pg.Client) => {
    const values: unknown[] = [];
    for (const [name, ...args] of calls) {
      const text = `select public.${name}(${args.map((_, i) => `$${i + 1}`).join(", ")}) as value`;
      values.push((await client.query<{ value: unknown }>(text, args)).rows[0]?.value);
    }
    return values;
  };
  const before = await results(honest);
  // Raises an error when it is executed, with the role that executed it.
  await hostile.query(`create function pg_temp.steal() returns boolean language plpgsql as
    $$ begin raise exception 'ran as %', current_user using errcode = 'ZZ001'; end $$`);
  for (const type of ["text", "jsonb", "json", "bigint", "integer", "boolean", "timestamptz", "numeric"]) {
    const base = `pg_catalog.${{ bigint: "int8", integer: "int4", boolean: "bool" }[type] ?? type}`;
    await hostile.query(`create domain pg_temp."${type}" as ${base} check (pg_temp.steal())`);
  }
  for (const name of ["page", "total", "mget", "list", "commit", "resolve", "bind", "tenants", "lock_keys"]) {
    for (const args of ["jsonb, timestamptz", "text[]", "text[], text[], timestamptz", "text, jsonb, jsonb, timestamptz", ""]) {
      const types = args.replace(/\w+/g, "pg_catalog.$&");
      await hostile.query(`create function pg_temp.${name}(${types}) returns pg_catalog.bool language sql as 'select pg_temp.steal()'`);
    }
  }
  await hostile.query(
    `create function pg_temp.same(pg_catalog.text, pg_catalog.text) returns pg_catalog.bool language sql as 'select pg_temp.steal()'`,
  );
  await hostile.query("create operator pg_temp.= (leftarg = pg_catalog.text, rightarg = pg_catalog.text, function = pg_temp.same)");
  await hostile.query("create temp table entries (key pg_catalog.text); create temp table families (family pg_catalog.text)");
  await hostile.query("set search_path = pg_temp, public, pg_catalog");
  const after = await results(hostile);
  expect(after).toEqual(before);
  await Promise.all([honest.end(), hostile.end()]);
});

test("R08: without a tenant, the policies show 0 rows of every table and raise no error", async () => {
  for (const table of ["entries", "owners", "chains"]) {
    for (const tenant of [null, ""]) {
      const sql = `select * from kv.${table} where ${table === "entries" ? "key not like 'plan:%'" : "true"}`;
      expect([table, rowsOf(await asTenant(tenant, sql))]).toEqual([table, 0]);
    }
  }
  expect(rowsOf(await asTenant(null, "update kv.entries set value = '{}'"))).toBe(0);
  expect(rowsOf(await asTenant(null, "delete from kv.entries"))).toBe(0);
  expect(
    rowsOf(
      await asTenant(
        null,
        "insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at) values ('x:y', '1', 1, 'tn_a', true, now(), now())",
      ),
    ),
  ).toBe("42501");
});

test("R08: the policy evaluates the tenant once, as an InitPlan, and a key is found by its index", async () => {
  // Of a few rows, a sequential scan is cheaper as soon as the table has been analyzed.
  const result = await asTenant(
    "tn_a",
    "explain (costs off) select * from kv.entries where key = 'note:tn_a:1'",
    "kv_tenant",
    "enable_seqscan = off",
  );
  const plan = typeof result === "string" ? result : result.rows.map((row: Record<string, string>) => row["QUERY PLAN"]).join("\n");
  expect(plan).toMatch(/InitPlan/);
  expect(plan).toMatch(/Index (Only )?Scan|Bitmap Index Scan/);
  expect(plan).not.toMatch(/Seq Scan/);
});

test("R08: neither role can read or write a partition directly", async () => {
  const { rows } = await admin.query<{ name: string }>(
    "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'kv.entries'::regclass",
  );
  expect(rows.length).toBeGreaterThan(10);
  for (const { name } of rows) {
    for (const sql of [`select * from ${name}`, `delete from ${name}`, `update ${name} set version = 1`, `truncate ${name}`]) {
      expect([sql, await asTenant("tn_a", sql)]).toEqual([sql, "42501"]);
      expect([sql, await asTenant("tn_a", sql, "kv_service")]).toEqual([sql, "42501"]);
    }
  }
});

const INSERT = "insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)";

test.each([
  ["inserting a row of another tenant", `${INSERT} values ('note:new', '1', 1, 'tn_b', true, now(), now())`],
  ["inserting a platform row", `${INSERT} values ('note:new', '1', 1, null, true, now(), now())`],
  ["inserting its own row under another tenant's name", `${INSERT} values ('subscription:tn_b', '1', 1, 'tn_a', true, now(), now())`],
  ["inserting its own row in a platform family", `${INSERT} values ('plan:Mine', '1', 1, 'tn_a', true, now(), now())`],
  ["moving a row to another tenant", "update kv.entries set owner = 'tn_b' where key = 'note:tn_a:1'"],
  ["moving a row to the platform", "update kv.entries set owner = null where key = 'note:tn_a:1'"],
  ["renaming a row to another tenant's key", "update kv.entries set key = 'subscription:tn_b' where key = 'note:tn_a:1'"],
  [
    "overwriting another tenant's row by upsert",
    `${INSERT} values ('note:tn_b:1', '1', 1, 'tn_a', true, now(), now()) on conflict (key) do update set value = '2'`,
  ],
  [
    "inserting a counter of another tenant",
    `${INSERT} values ('usage:tn_b:rooms:2026-03', '1', 1, 'tn_a', true, now(), now())`,
  ],
  [
    "marking another tenant as deleted",
    "insert into kv.owners (owner, deleted_at) values ('tn_b', now()) on conflict (owner) do update set deleted_at = now()",
  ],
  ["marking itself as deleted", "update kv.owners set deleted_at = now()"],
  ["emptying a table", "truncate kv.entries"],
  ["reading the rollups", "select * from kv.rollups"],
  ["reading the rollups' counts", "select * from kv.rollup_shards"],
  ["changing the key families", "update kv.families set owner_rule = 'given'"],
])("R10: as the tenant role, %s is refused by the database", async (_, sql) => {
  expect(await asTenant("tn_a", sql)).toBe("42501");
});

test.each([
  ["update", "update kv.entries set value = '{}' where key like 'note:tn_b%'"],
  ["delete", "delete from kv.entries where owner = 'tn_b'"],
  ["select", "select * from kv.entries where owner is distinct from 'tn_a'"],
  ["select for update", "select * from kv.entries where owner = 'tn_b' for update"],
  ["delete of counters", "delete from kv.entries where key like 'usage:tn_b:%'"],
  ["platform rows for update", "select * from kv.entries where key = 'plan:Pro' for update"],
])("R10: as the tenant role, a %s of foreign rows affects none", async (name, sql) => {
  const readable = name === "select" ? 1 : 0; // plan:Pro
  expect(rowsOf(await asTenant("tn_a", sql))).toBe(readable);
});
