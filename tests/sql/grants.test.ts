import { createClient } from "@supabase/supabase-js";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SQL_FUNCTIONS } from "../../shared/kv/driver.ts";
import { freshDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { API_KEYS, startPostgrest } from "../support/postgrest.ts";
import type { PostgrestBridge } from "../support/postgrest.ts";

let database: TestDatabase;
let bridge: PostgrestBridge;
let admin: pg.Client;

beforeAll(async () => {
  database = await freshDatabase();
  bridge = await startPostgrest({ databaseUrl: database.authenticatorUrl });
  admin = new pg.Client({ connectionString: database.superUrl });
  await admin.connect();
});

afterAll(async () => {
  await admin.end();
  await bridge.close();
  await database.drop();
});

/** The SQLSTATE of a statement that fails as a role, or "done". */
async function asRole(role: string, sql: string): Promise<string> {
  await admin.query("begin");
  try {
    await admin.query(`set local role ${role}`);
    await admin.query(sql);
    return "done";
  } catch (error) {
    return (error as pg.DatabaseError).code ?? String(error);
  } finally {
    await admin.query("rollback");
  }
}

interface Routine {
  readonly schema: string;
  readonly name: string;
  readonly call: string;
}

const OUR_ROUTINES = `
  select n.nspname as schema, p.proname as name, format('%I.%I(%s)', n.nspname, p.proname,
    (select coalesce(string_agg(format('null::%s', format_type(t, null)), ', ' order by o), '') from unnest(p.proargtypes) with ordinality a(t, o))) as call
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where (n.nspname in ('kv', 'kv_service', 'kv_tenant') or (n.nspname = 'public' and p.proname like 'kv\\_%')) and p.prorettype <> 'trigger'::regtype`;

async function routines(schema: string): Promise<Routine[]> {
  return (await admin.query<Routine>(OUR_ROUTINES)).rows.filter((routine) => routine.schema === schema);
}

async function tables(): Promise<string[]> {
  const { rows } = await admin.query<{ name: string }>(
    "select format('kv.%I', relname) as name from pg_class where relnamespace = 'kv'::regnamespace and relkind in ('r', 'p', 'v', 'm')",
  );
  return rows.map(({ name }) => name);
}

const INNER_SCHEMAS = ["kv", "kv_service", "kv_tenant"];

async function innerRoutines(): Promise<Routine[]> {
  return (await Promise.all(INNER_SCHEMAS.map(routines))).flat();
}

const OUTSIDERS = ["anon", "authenticated"];
const CALLERS = [...OUTSIDERS, "service_role", "innkeep_app"];

test.each(OUTSIDERS)("K29: %s gets permission denied on every function of the store, directly", async (role) => {
  const functions = [...await routines("public"), ...await innerRoutines()];
  expect(functions.length).toBeGreaterThan(Object.keys(SQL_FUNCTIONS).length);
  for (const { call } of functions) expect([call, await asRole(role, `select * from ${call}`)]).toEqual([call, "42501"]);
});

test.each(CALLERS)("K29: %s gets permission denied on every table of the store, for every statement", async (role) => {
  for (const table of await tables()) {
    for (
      const sql of [
        `select * from ${table}`,
        `select count(*) from ${table}`,
        `insert into ${table} default values`,
        `delete from ${table}`,
        `truncate ${table}`,
        `copy ${table} to stdout`,
        `lock table ${table}`,
        `select from ${table} for update`,
      ]
    ) {
      expect([sql, await asRole(role, sql)]).toEqual([sql, "42501"]);
    }
  }
});

test.each(["service_role", "innkeep_app"])(
  "K29: %s may execute the entry points in public and no function of the inner schemas",
  async (role) => {
    for (const { call } of await innerRoutines()) expect([call, await asRole(role, `select * from ${call}`)]).toEqual([call, "42501"]);
    for (const { call } of await routines("public")) {
      expect([call, await asRole(role, `select * from ${call}`)]).not.toEqual([
        call,
        "42501",
      ]);
    }
  },
);

test("K29: the API's roles have no privilege on sequences, types and the schema", async () => {
  for (const role of CALLERS) {
    expect(await asRole(role, "select nextval('kv.versions')")).toBe("42501");
    for (const schema of INNER_SCHEMAS) expect(await asRole(role, `create table ${schema}.mine ()`)).toBe("42501");
    expect(await asRole(role, "create function public.kv_get(p_key text) returns text language sql as 'select 1'")).toBe("42501");
  }
  const { rows } = await admin.query(
    `select r.rolname, s.name, has_schema_privilege(r.oid, s.name, 'usage') as usage from pg_roles r, unnest($1::text[]) s(name)
     where r.rolname in ('anon', 'authenticated', 'service_role', 'innkeep_app')`,
    [INNER_SCHEMAS],
  );
  expect(rows).toHaveLength(CALLERS.length * INNER_SCHEMAS.length);
  expect(rows.filter(({ usage }: { usage: boolean }) => usage)).toEqual([]);
});

test.each([["anon", API_KEYS.anonKey, 401], ["authenticated", API_KEYS.authenticatedKey, 403]] as const)(
  "K29: %s gets permission denied on every entry point through the PostgREST protocol, and no table is exposed",
  async (_, key, status) => {
    const client = createClient(bridge.url, key, { auth: { persistSession: false }, realtime: { transport: class {} as never } });
    for (const [name, parameters] of Object.entries(SQL_FUNCTIONS)) {
      const args = Object.fromEntries(Object.keys(parameters).map((parameter) => [`p_${parameter}`, null]));
      expect(await client.rpc(name, args), name).toMatchObject({ status, data: null, error: { code: "42501" } });
    }
    expect(await client.from("entries").select()).toMatchObject({ status: 404 });
    expect(await client.schema("kv").from("entries").select()).toMatchObject({ status: 406 });
  },
);

test("K29: the drivers' functions are those of the database by name, parameter and type, and no others are executable", async () => {
  const { rows } = await admin.query<{ name: string; parameters: string }>(
    `select p.proname as name, pg_get_function_identity_arguments(p.oid) as parameters from pg_proc p
     where p.pronamespace = 'public'::regnamespace and has_function_privilege('service_role', p.oid, 'execute') and p.proname like 'kv\\_%'`,
  );
  const declared = Object.entries(SQL_FUNCTIONS).map(([name, parameters]) => {
    const types = Object.entries(parameters).map(([parameter, type]) =>
      `p_${parameter} ${type === "timestamptz" ? "timestamp with time zone" : type}`
    );
    return { name, parameters: types.join(", ") };
  });
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
  expect([...rows].sort(byName)).toEqual(declared.sort(byName));
});

test("K29: entry points are security definer, owned by roles without login and bypass, and every definer function pins its search path", async () => {
  const { rows } = await admin.query<{ name: string; schema: string; definer: boolean; owner: string; path: string | null; weak: boolean }>(
    `select p.proname as name, n.nspname as schema, p.prosecdef as definer, r.rolname as owner, r.rolcanlogin or r.rolbypassrls or r.rolsuper as weak,
       (select substr(setting, 13) from unnest(p.proconfig) setting where setting like 'search_path=%') as path
     from pg_proc p join pg_roles r on r.oid = p.proowner join pg_namespace n on n.oid = p.pronamespace
     where n.nspname in ('kv', 'kv_service', 'kv_tenant') or (n.nspname = 'public' and p.proname like 'kv\\_%')`,
  );
  const definers = rows.filter(({ definer }) => definer);
  // pg_catalog first and pg_temp last, so that no type, function or table of a session is found.
  expect(definers.filter(({ path }) => !/^pg_catalog(, kv_service|, kv_tenant)?, pg_temp$/.test(path ?? "")).map(({ name }) => name))
    .toEqual([]);
  expect(definers.filter(({ weak }) => weak).map(({ name }) => name)).toEqual([]);
  const entryPoints = rows.filter(({ schema }) => schema === "public");
  expect(entryPoints.filter(({ definer }) => !definer).map(({ name }) => name)).toEqual([]);
  const sideOf = (name: string) => name.startsWith("kv_tenant_") ? "kv_tenant" : "kv_service";
  expect(entryPoints.filter(({ name, owner, path }) => owner !== sideOf(name) || !path?.includes(sideOf(name))).map(({ name }) => name))
    .toEqual([]);
  // A function without a search_path runs with its caller's. Functions that migrations call need their own.
  expect(
    rows.filter(({ name, path }) =>
      /^(add|drop|fill|is_large|declared|index)/.test(name) && name !== "add_owners" && name !== "add_tallies" && path === null
    )
      .map(({ name }) => name),
  ).toEqual([]);
});

test("K29: each role may execute only its own copy of the functions, and none that migrations call", async () => {
  for (const [role, other] of [["kv_service", "kv_tenant"], ["kv_tenant", "kv_service"]] as const) {
    for (const { call } of await routines(other)) expect([call, await asRole(role, `select ${call}`)]).toEqual([call, "42501"]);
    const forMigrations = (await routines("kv")).filter(({ name }) =>
      /^(add_family|add_entity|add_index|add_rollup|add_pages?|drop_|fill_|declared|index_)/.test(name)
    );
    expect(forMigrations.length).toBeGreaterThan(8);
    for (const { call } of forMigrations) expect([call, await asRole(role, `select ${call}`)]).toEqual([call, "42501"]);
  }
  // Tenants claim, fold and take nothing.
  const ofIndexes = /^(page|count)_/;
  const ofServiceOnly = ["charged", "claim", "due_keys", "fold_rollups", "is_take", "take"];
  const copies = async (schema: string) => [...new Set((await routines(schema)).map(({ name }) => name))].sort();
  expect((await copies("kv_tenant")).filter((name) => !ofIndexes.test(name))).toEqual(
    (await copies("kv_service")).filter((name) => !ofIndexes.test(name) && !ofServiceOnly.includes(name)),
  );
});

test("K29: the role of retention may read audit chains and delete entries, and owns the only function that does", async () => {
  const { rows } = await admin.query<{ grants: string[]; functions: string[] }>(
    `select (select array_agg((g.table_name || ' ' || g.privilege_type)::text order by g.table_name::text, g.privilege_type::text) from information_schema.role_table_grants g
       where g.grantee = 'kv_retention') as grants,
     (select array_agg(p.proname::text) from pg_proc p join pg_roles r on r.oid = p.proowner where r.rolname = 'kv_retention') as functions`,
  );
  expect(rows).toEqual([{
    grants: ["chains SELECT", "entries DELETE", "entries SELECT", "families SELECT"],
    functions: ["purge_chain"],
  }]);
  expect(await asRole("kv_retention", "create table kv.mine ()")).toBe("42501");
});

test("K29: nobody but the migrating owner is a member of the entry points' roles", async () => {
  const { rows } = await admin.query<{ member: string }>(
    `select m.rolname as member from pg_auth_members a join pg_roles g on g.oid = a.roleid join pg_roles m on m.oid = a.member
     where g.rolname in ('kv_service', 'kv_tenant', 'kv_retention')`,
  );
  expect(rows.filter(({ member }) => member !== "innkeep_owner")).toEqual([]);
  for (const role of ["kv_service", "kv_tenant", "kv_retention"]) {
    const { rows: [membership] } = await admin.query(
      `select pg_has_role('service_role', '${role}', 'member') as service, pg_has_role('innkeep_app', '${role}', 'member') as app`,
    );
    expect(membership).toEqual({ service: false, app: false });
  }
});
