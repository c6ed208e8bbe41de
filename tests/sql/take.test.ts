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

const TAKE = `select public.kv_take('[{"key": "ratelimit:sql", "capacity": 10, "window": 60, "cost": 1, "wanted": 0}]')`;

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

test("H10: the function writes rate limits alone, whatever key the application's login names", async () => {
  const app = new pg.Client({ connectionString: database.appUrl });
  await app.connect();
  try {
    for (const key of ["tenant:tn_1", "plan:Pro", "note:1", "ratelimit", "ratelimits:x", null]) {
      const takes = JSON.stringify([{ key, capacity: 10, window: 60, cost: 1, wanted: 0 }]);
      await expect(app.query("select public.kv_take($1::jsonb)", [takes]), String(key)).rejects.toMatchObject({ code: "KV001" });
    }
    const { rows } = await client.query("select key from kv.entries where key not like 'ratelimit:%'");
    expect(rows).toEqual([]);
  } finally {
    await app.end();
  }
});
