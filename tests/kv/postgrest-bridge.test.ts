import { createClient } from "@supabase/supabase-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { withClient } from "../support/client.ts";
import { emptyDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { API_KEYS, startPostgrest } from "../support/postgrest.ts";
import type { PostgrestBridge } from "../support/postgrest.ts";

let database: TestDatabase;
let bridge: PostgrestBridge;

const FUNCTIONS = `
  create function public.echo(p_text text, p_json jsonb, p_list text[], p_at timestamptz default null) returns jsonb
    language sql as $$ select jsonb_build_object('text', p_text, 'json', p_json, 'list', p_list, 'at', p_at) $$;
  create function public.numbers(p_count integer) returns table(n integer, label text) stable
    language sql as $$ select i, 'n' || i from generate_series(1, p_count) i $$;
  create function public.who() returns text language sql as $$ select current_user::text $$;
  create function public.names() returns setof text stable language sql as $$ values ('a'), ('b') $$;
  create function public.nothing() returns void language sql as $$ select $$;
  create function public.writer() returns integer language plpgsql as $$ begin create table public.t(); return 1; end $$;
  create function public.sneak() returns integer stable language sql as $$ select public.writer() $$;
  create function public.fail(p_state text) returns integer language plpgsql as
    $$ begin raise exception 'failed' using errcode = p_state, detail = 'why', hint = 'so'; end $$;
  create function public.secret() returns integer language sql as $$ select 1 $$;
  revoke execute on function public.secret() from public, anon, authenticated;`;

beforeAll(async () => {
  database = await emptyDatabase();
  await withClient(database.ownerUrl, (client) => client.query(FUNCTIONS));
  bridge = await startPostgrest({ databaseUrl: database.authenticatorUrl });
});

afterAll(async () => {
  await bridge.close();
  await database.drop();
});

function client(key: string = API_KEYS.serviceKey) {
  return createClient(bridge.url, key, { auth: { persistSession: false }, realtime: { transport: class {} as never } });
}

test("bridge: named parameters have their declared types, and a scalar is returned as its JSON value", async () => {
  const sent = {
    p_text: "it's 100% _ok_ ✓",
    p_json: { a: [1, null, { b: "ü" }] },
    p_list: ["x,y", '"', "{}"],
    p_at: "2026-01-02T03:04:05.678Z",
  };
  const { data, error, status } = await client().rpc("echo", sent);
  expect(error).toBeNull();
  expect(status).toBe(200);
  expect(data).toEqual({ text: sent.p_text, json: sent.p_json, list: sent.p_list, at: "2026-01-02T03:04:05.678+00:00" });
});

test("bridge: a set is returned as an array, silently cut at 1,000 rows", async () => {
  expect((await client().rpc("numbers", { p_count: 2 })).data).toEqual([{ n: 1, label: "n1" }, { n: 2, label: "n2" }]);
  expect((await client().rpc("numbers", { p_count: 0 })).data).toEqual([]);
  expect((await client().rpc("numbers", { p_count: 1500 })).data).toHaveLength(1000);
  expect((await client().rpc("names")).data).toEqual(["a", "b"]);
});

test("bridge: the key determines the role, and an unknown key is refused", async () => {
  expect((await client().rpc("who")).data).toBe("service_role");
  expect((await client(API_KEYS.anonKey).rpc("who")).data).toBe("anon");
  expect((await client(API_KEYS.authenticatedKey).rpc("who")).data).toBe("authenticated");
  expect((await client("made-up").rpc("who")).status).toBe(401);
});

test("bridge: void returns 204, and a stable function runs in a read-only transaction", async () => {
  expect(await client().rpc("nothing")).toMatchObject({ status: 204, data: null, error: null });
  expect(await client().rpc("sneak")).toMatchObject({ status: 405, error: { code: "25006" } });
});

test.each([
  ["P0001", 400],
  ["23505", 409],
  ["23503", 409],
  ["40001", 500],
  ["53300", 503],
  ["57014", 500],
  ["08006", 503],
  ["22000", 400],
  ["KV001", 400],
])("bridge: SQLSTATE %s answers %i with PostgREST's error body", async (state, status) => {
  const answer = await client().rpc("fail", { p_state: state });
  expect(answer).toMatchObject({ status, error: { code: state, message: "failed", details: "why", hint: "so" } });
});

test("bridge: permission denied is 403 for a known role and 401 for anon; an unknown function is 404", async () => {
  expect(await client(API_KEYS.authenticatedKey).rpc("secret")).toMatchObject({ status: 403, error: { code: "42501" } });
  expect(await client(API_KEYS.anonKey).rpc("secret")).toMatchObject({ status: 401, error: { code: "42501" } });
  expect(await client().rpc("absent")).toMatchObject({ status: 404, error: { code: "PGRST202" } });
  expect(await client().rpc("numbers", { p_other: 1 })).toMatchObject({ status: 404, error: { code: "PGRST202" } });
  expect(await client().from("entries").select()).toMatchObject({ status: 404, error: { code: "PGRST205" } });
  expect(await client().schema("kv").from("entries").select()).toMatchObject({ status: 406, error: { code: "PGRST106" } });
});

test("bridge: a failed call leaves no state in the pooled connection", async () => {
  await client().rpc("fail", { p_state: "P0001" });
  expect((await client(API_KEYS.anonKey).rpc("who")).data).toBe("anon");
  expect((await client().rpc("who")).data).toBe("service_role");
});
