import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import { withClient } from "../support/client.ts";
import { codeOf, freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";
import { CALLS, commit, NAMES, resultOf, storeTwoTenants } from "./entry-points.ts";

let opened: OpenStore;
/** What a session without settings or objects of its own sees. */
let expected: Record<string, unknown>;

beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
  await storeTwoTenants(opened.store, opened.clock);
  expected = await cleanSession();
});
afterAll(() => opened.close());

/** The result or error of every entry point in this session. */
async function everything(client: pg.Client): Promise<Record<string, unknown>> {
  const results: Record<string, unknown> = {};
  for (const name of NAMES) {
    for (const [i, args] of CALLS[name].entries()) {
      const result = await resultOf(client, name, args).catch((error: unknown) => String(error));
      results[`${name} ${i}`] = name === "kv_ping" ? withoutDigits(result) : result;
    }
  }
  return results;
}

/** The server's time has the same form in every session. */
function withoutDigits(result: unknown): unknown {
  if (typeof result !== "object" || result === null || !("now" in result)) return result;
  return { ...result, now: String(result.now).replace(/\d/g, "0") };
}

const inSession = <T>(work: (client: pg.Client) => Promise<T>) => withClient(opened.database.appUrl, work);

/** The results of a session with default settings, after the first writes. */
async function cleanSession(): Promise<Record<string, unknown>> {
  await inSession(everything);
  const results = await inSession(everything);
  expect(Object.entries(results).filter(([, result]) => typeof result === "string" && result.includes("rror"))).toEqual([]);
  return results;
}

/** Raises an error when it is executed, with the role that executed it. */
const STEAL = `create function pg_temp.steal() returns pg_catalog.bool language plpgsql as
  $$ begin raise exception 'ran as %', current_user using errcode = 'ZZ001'; end $$`;

async function plantTypes(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    "select typname as name from pg_type where typnamespace = 'pg_catalog'::regnamespace and typtype = 'b' and typelem = 0 and typname !~ '^(pg_|_)' and typname <> 'aclitem'",
  );
  for (const { name } of rows) await client.query(`create domain pg_temp."${name}" as pg_catalog."${name}" check (pg_temp.steal())`);
  for (const name of ["integer", "boolean", "bigint", "write", "timestamp with time zone"]) {
    await client.query(`create type pg_temp."${name}" as (stolen pg_catalog.text)`);
  }
}

async function plantTables(client: pg.Client): Promise<void> {
  for (const name of ["entries", "families", "owners", "chains", "rollups", "rollup_shards", "migrations", "unnest", "kv", "p", "e"]) {
    await client.query(`create temp table "${name}" (key pg_catalog.text, family pg_catalog.text, owner pg_catalog.text)`);
  }
}

/** Functions and operators with the names and argument types of those that the entry points call. */
async function plantFunctions(client: pg.Client): Promise<void> {
  const { rows: functions } = await withClient(opened.database.superUrl, (admin) =>
    admin.query<{ name: string; args: string }>(
      `select distinct p.proname as name, (select coalesce(string_agg(format('%s.%s', n.nspname, quote_ident(t.typname)), ', ' order by o), '') from unnest(p.proargtypes) with ordinality a(oid, o)
          join pg_type t on t.oid = a.oid join pg_namespace n on n.oid = t.typnamespace) as args
       from pg_proc p where p.prokind = 'f' and not p.prorettype = 'trigger'::regtype and not exists (select from pg_type t where t.oid = any(p.proargtypes) and (t.typtype = 'p' or t.typnamespace <> 'pg_catalog'::regnamespace))
         and (p.pronamespace in ('kv'::regnamespace, 'kv_service'::regnamespace) or p.pronamespace = 'pg_catalog'::regnamespace
           and p.proname ~ '^(jsonb?_(array|object|typeof|each|build).*|format|split_part|lower|left|length|octet_length|translate|hashtext.*|replace|set_config|current_setting|nextval|string_to_array|convert_to|encode|sha256|repeat|trim_scale|to_regprocedure|pg_try_advisory.*|pg_advisory.*)$')`,
    ));
  for (const { name, args } of functions) {
    await client.query(`create function pg_temp."${name}"(${args}) returns pg_catalog.bool language sql as 'select pg_temp.steal()'`);
  }
  expect(functions.length).toBeGreaterThan(60);
  for (
    const [left, operator, right] of [
      ["text", "=", "text"],
      ["text", ">=", "text"],
      ["text", "<", "text"],
      ["text", "<=", "text"],
      ["text", "~~", "text"],
      ["text", "||", "text"],
      ["jsonb", "->", "text"],
      ["jsonb", "->>", "text"],
      ["jsonb", "?", "text"],
      ["jsonb", "||", "jsonb"],
      ["int4", ">", "int4"],
      ["timestamptz", ">", "timestamptz"],
      ["numeric", "<", "numeric"],
    ] as const
  ) {
    const types = `pg_catalog.${left}, pg_catalog.${right}`;
    await client.query(
      `create or replace function pg_temp.steal2(${types}) returns pg_catalog.bool language sql as 'select pg_temp.steal()'`,
    );
    await client.query(
      `create operator pg_temp.${operator} (leftarg = pg_catalog.${left}, rightarg = pg_catalog.${right}, function = pg_temp.steal2)`,
    );
  }
}

const PLANTS: Readonly<Record<string, (client: pg.Client) => Promise<unknown>>> = {
  types: plantTypes,
  tables: plantTables,
  functions: plantFunctions,
};

test.each(Object.keys(PLANTS))(
  "K29: %s of a session, on any search_path, are not executed by entry points and do not change their results",
  async (what) => {
    for (const path of ["pg_temp, public, pg_catalog", "pg_temp", "", "pg_temp, kv, kv_tenant, kv_service, pg_catalog"]) {
      for (const role of ["none", "service_role"]) {
        const seen = await inSession(async (client) => {
          await client.query(`set role ${role}`);
          await client.query(STEAL);
          await PLANTS[what]?.(client);
          await client.query("select pg_catalog.set_config('search_path', $1, false)", [path]);
          return await everything(client);
        });
        expect([path, seen]).toEqual([path, expected]);
      }
    }
  },
);

test("K29: objects that a session creates after preparing its calls have no effect either", async () => {
  const seen = await inSession(async (client) => {
    for (let run = 0; run < 6; run++) await everything(client);
    await client.query(STEAL);
    for (const plant of Object.values(PLANTS)) await plant(client);
    await client.query(
      "prepare kv_get as select 'mine'; prepare kv_commit as select 'mine'; set search_path = pg_temp, pg_catalog; discard plans",
    );
    return await everything(client);
  });
  expect(seen).toEqual(expected);
});

test.each([
  ["set search_path = kv_tenant, kv_service, kv"],
  ["set role service_role"],
  ["set kv.tenants = 'tn_b'"],
  ["set kv.tenants = 'tn_a,tn_b'"],
  ["set datestyle = 'SQL, DMY'", "set timezone = 'Asia/Kathmandu'", "set intervalstyle = 'iso_8601'"],
  ["set timezone = 'America/St_Johns'", "set datestyle = 'German'"],
  ["set extra_float_digits = -15", "set bytea_output = 'escape'"],
  ["set row_security = off"],
  ["set array_nulls = off", "set transform_null_equals = on", "set quote_all_identifiers = on"],
  ["set standard_conforming_strings = off", "set escape_string_warning = off", "set backslash_quote = off"],
  ["set plan_cache_mode = force_custom_plan"],
  ["set plan_cache_mode = force_generic_plan", "set enable_indexscan = off", "set enable_seqscan = off", "set enable_nestloop = off"],
  ["set enable_indexscan = off", "set enable_indexonlyscan = off", "set enable_bitmapscan = off", "set enable_partition_pruning = off"],
  ["set enable_seqscan = off", "set gin_fuzzy_search_limit = 1"],
  ["set plpgsql.extra_errors = 'all'", "set check_function_bodies = off"],
  ["set debug_parallel_query = on", "set parallel_setup_cost = 0", "set min_parallel_table_scan_size = 0"],
  ["set jit = on", "set jit_above_cost = 0", "set work_mem = '64kB'"],
  ["set lock_timeout = 1"],
  ["set default_transaction_deferrable = on", "set idle_in_transaction_session_timeout = 60000"],
])("K29: the session's %s changes no entry point's result", async (...settings) => {
  const seen = await inSession(async (client) => {
    for (const setting of settings) await client.query(setting);
    const first = await everything(client);
    for (let run = 0; run < 5; run++) await everything(client);
    return [first, await everything(client)];
  });
  expect(seen).toEqual([expected, expected]);
});

const WRITES = ["kv_claim", "kv_commit", "kv_fold_rollups", "kv_take", "kv_write_many", "kv_tenant_commit", "kv_tenant_write_many"];

test.each(["repeatable read", "serializable"])(
  "K31: in a session with isolation %s, writes are refused with KV008 as store_unavailable, and reads work",
  async (level) => {
    const setting = `default_transaction_isolation=${level.replace(" ", "\\ ")}`;
    const seen = await inSession(async (client) => {
      await client.query(`set default_transaction_isolation = '${level}'`);
      const results = await everything(client);
      const { code } = await resultOf(client, "kv_commit", commit("iso")).catch((error: unknown) => error) as pg.DatabaseError;
      expect(code).toBe("KV008");
      return results;
    });
    for (const [call, result] of Object.entries(seen)) {
      if (WRITES.includes(call.split(" ")[0] ?? "")) expect(result).toContain("writes require the isolation level read committed");
      else if (call.startsWith("kv_ping")) {
        expect(result).toMatchObject({ refusesWrites: `transactions of this login are ${level}, not read committed` });
      } else expect([call, result]).toEqual([call, expected[call]]);
    }
    expect(await writesThrough(setting)).toEqual(["store_unavailable", "store_unavailable", "store_unavailable", "no error"]);
  },
);

test("K31: in a read-only session, writes are store_unavailable, and reads work", async () => {
  const seen = await inSession(async (client) => {
    await client.query("set default_transaction_read_only = on");
    return await everything(client);
  });
  for (const [call, result] of Object.entries(seen)) {
    if ([...WRITES, "kv_sweep"].includes(call.split(" ")[0] ?? "")) expect(result).toContain("read-only transaction");
    else if (call.startsWith("kv_ping")) expect(result).toMatchObject({ refusesWrites: "the database is read-only" });
    else expect([call, result]).toEqual([call, expected[call]]);
  }
  expect(await writesThrough("default_transaction_read_only=on")).toEqual([
    "store_unavailable",
    "store_unavailable",
    "store_unavailable",
    "no error",
  ]);
});

/** The results of a store whose sessions have a setting: a set, a tenant's increment, a commit, and a tenant's get. */
async function writesThrough(setting: string): Promise<string[]> {
  const url = new URL(opened.database.appUrl);
  url.searchParams.set("options", `-c ${setting}`);
  const store = createStore(postgresDriver({ connectionString: url.href }), { clock: opened.clock });
  const own = store.forTenant("tn_a");
  const calls = [
    store.set("iso:refused", 1),
    own.increment("iso:refused", [{ path: ["n"], by: 1 }], { initial: { value: {} } }),
    store.commit([], [{ op: "set", key: "iso:refused", value: 1 }]),
    own.get("tenant:tn_a"),
  ];
  const codes = await Promise.all(calls.map(codeOf));
  await store.close();
  expect(await opened.store.get("iso:refused")).toBeNull();
  return codes.map((code) => code.replace(/^(no error).*/s, "$1"));
}
