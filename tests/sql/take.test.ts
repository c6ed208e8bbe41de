import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freshDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await freshDatabase();
  client = new pg.Client({ connectionString: database.superUrl });
  await client.connect();
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

const TAKE = `select public.kv_take('[{"key": "ratelimit:sql", "capacity": 10, "window": 60, "cost": 1, "wanted": 0}]', false)`;

test("H10: a decision does not wait for the disk, and the session's next transaction does", async () => {
  const setting = async () =>
    (await client.query<{ value: string }>("select current_setting('synchronous_commit') as value")).rows[0]?.value;
  await client.query("set synchronous_commit = on");
  await client.query("begin");
  await client.query(TAKE);
  expect(await setting()).toBe("off");
  await client.query("commit");
  expect(await setting()).toBe("on");
});

test("H10: a bucket that is charged again and again stays on its page and changes no index", async () => {
  for (let i = 0; i < 100; i++) await client.query(TAKE);
  await client.query("select pg_stat_force_next_flush()");
  const { rows: [row] } = await client.query<{ updates: string; hot: string }>(
    "select n_tup_upd as updates, n_tup_hot_upd as hot from pg_stat_user_tables where relname = 'entries_ratelimit'",
  );
  expect(Number(row?.updates)).toBeGreaterThanOrEqual(100);
  expect(Number(row?.hot)).toBeGreaterThanOrEqual(0.95 * Number(row?.updates));
});

/** Takes that no rate limit makes. */
const WRONG: readonly Record<string, unknown>[] = [
  ...["tenant:tn_1", "plan:Pro", "note:1", "ratelimit", "ratelimits:x", null].map((key) => ({ key })),
  ...["ratelimit:", "ratelimit:a:b", "ratelimit:a b", "ratelimit:a\n", "ratelimit:\u0001", `ratelimit:${"a".repeat(129)}`].map((key) => ({
    key,
  })),
  ...["capacity", "window", "cost", "wanted"].flatMap((name) =>
    [-1, 0.5, 1e300, "NaN", "1", null, []].map((amount) => ({ [name]: amount }))
  ),
  { capacity: 0 },
  { window: 0 },
];

test("H10: the function writes rate limits alone, with whole numbers, whatever the application's login sends", async () => {
  const app = new pg.Client({ connectionString: database.appUrl });
  await app.connect();
  const valid = { key: "ratelimit:wrong", capacity: 10, window: 60, cost: 1, wanted: 0 };
  try {
    for (const wrong of WRONG) {
      const takes = JSON.stringify([valid, { ...valid, key: "ratelimit:other", ...wrong }]);
      for (const wait of [false, true]) {
        await expect(app.query("select public.kv_take($1::jsonb, $2)", [takes, wait]), takes).rejects.toMatchObject({ code: "KV001" });
      }
    }
    const { rows } = await client.query("select key from kv.entries where key not like 'ratelimit:%' or key ~ 'wrong|other'");
    expect(rows).toEqual([]);
    await app.query("select public.kv_take($1::jsonb, false)", [
      JSON.stringify([{ ...valid, window: 60.0, more: 5, junk: "x".repeat(300_000) }]),
    ]);
    const { rows: [row] } = await client.query<{ members: string[] }>(
      "select array(select jsonb_object_keys(value)) as members from kv.entries where key = 'ratelimit:wrong'",
    );
    expect(row?.members.sort()).toEqual(["at", "capacity", "cost", "had", "more", "tokens", "wanted", "window"]);
  } finally {
    await app.end();
  }
});

test("H10: one call charges the buckets that exist and the new ones, and not the one that another transaction has locked", async () => {
  const other = new pg.Client({ connectionString: database.superUrl });
  await other.connect();
  const takes = (...names: string[]) =>
    JSON.stringify(names.map((name) => ({ key: `ratelimit:${name}`, capacity: 10, window: 60, cost: 4, wanted: 0 })));
  const take = async (...names: string[]) => {
    const { rows: [row] } = await client.query<{ buckets: Record<string, { had: number; tokens: number } | null> }>(
      "select public.kv_take($1::jsonb, false) as buckets",
      [takes(...names)],
    );
    return Object.fromEntries(Object.entries(row?.buckets ?? {}).map(([key, bucket]) => [key, bucket && Math.floor(bucket.tokens)]));
  };
  try {
    expect(await take("free", "locked")).toEqual({ "ratelimit:free": 6, "ratelimit:locked": 6 });
    await other.query("begin");
    await other.query("select from kv.entries where key = 'ratelimit:locked' for update");
    expect(await take("new", "locked", "free")).toEqual({ "ratelimit:new": 6, "ratelimit:locked": null, "ratelimit:free": 2 });
    await other.query("rollback");
    expect(await take("locked", "new")).toEqual({ "ratelimit:locked": 2, "ratelimit:new": 2 });
  } finally {
    await other.end();
  }
});
