import { afterAll, beforeAll, expect, test } from "vitest";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { supabaseDriver } from "../../shared/kv/drivers/supabase.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Store } from "../../shared/kv/store.ts";
import { freshDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { API_KEYS, startPostgrest } from "../support/postgrest.ts";
import { codeOf, testClock } from "../support/store.ts";
import type { DriverName } from "../support/store.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

const clock = testClock();
let database: TestDatabase;

beforeAll(async () => {
  database = await freshDatabase();
});

afterAll(() => database.drop());

interface Fragile {
  readonly store: Store;
  /** The next call is committed, and its response is lost. */
  loseNextAnswer(): void;
  /** From now on connections are refused. */
  hangUp(): Promise<void>;
  close(): Promise<void>;
}

const OPEN: Readonly<Record<DriverName, () => Promise<Fragile>>> = {
  postgres: async () => {
    const proxy = await startTcpProxy(database.appUrl);
    const store = createStore(postgresDriver({ connectionString: proxy.url, max: 1 }), { clock });
    return { store, loseNextAnswer: proxy.loseNextAnswer, hangUp: proxy.close, close: () => store.close() };
  },
  supabase: async () => {
    let losing = false;
    const loseAnswer = () => {
      const lost = losing;
      losing = false;
      return lost;
    };
    const bridge = await startPostgrest({ databaseUrl: database.authenticatorUrl, loseAnswer });
    const store = createStore(supabaseDriver({ url: bridge.url, serviceKey: API_KEYS.serviceKey }), { clock });
    return { store, loseNextAnswer: () => void (losing = true), hangUp: bridge.close, close: () => store.close() };
  },
};

const DRIVERS: readonly DriverName[] = ["postgres", "supabase"];

test.each(DRIVERS)(
  "K05: %s: a commit whose response is lost is commit_unknown, is executed once, and is not repeated",
  async (driver) => {
    const { store, loseNextAnswer, hangUp, close } = await OPEN[driver]();
    const key = `lost:${driver}`;
    const add = [{ path: ["n"], by: 1 }];
    await store.set(key, { n: 0 });
    const calls = [
      () => store.increment(key, add),
      () => store.commit([], [{ op: "increment", key, add }]),
      () => store.forTenant("tn_lost").increment(`own:${driver}`, add, { initial: { value: { n: 0 } } }),
    ];
    for (const call of calls) {
      await store.get("warm:up"); // opens the connection, so that the lost answer is the call's
      loseNextAnswer();
      expect(await codeOf(call)).toBe("commit_unknown");
    }
    // A commit may complete shortly after its client has disconnected.
    await expect.poll(async () => (await store.mget([key, `own:${driver}`])).map((entry) => entry?.value)).toEqual([{ n: 2 }, { n: 1 }]);
    await hangUp();
    await close();
  },
);

test.each(DRIVERS)("K05: %s: a read whose response is lost is repeated", async (driver) => {
  const { store, loseNextAnswer, hangUp, close } = await OPEN[driver]();
  await store.set(`read:${driver}`, 1);
  for (const call of [() => store.get(`read:${driver}`), () => store.count("read"), () => store.list({ prefix: "read" })]) {
    await store.get("warm:up");
    loseNextAnswer();
    expect(await codeOf(call)).toMatch(/^no error/);
  }
  await hangUp();
  await close();
});

test.each(DRIVERS)("K05: %s: if the server refuses connections, every call is store_unavailable and nothing is written", async (driver) => {
  const { store, hangUp, close } = await OPEN[driver]();
  await store.get("warm:up");
  await hangUp();
  // The read meets the connection that was left; a write over that one could not know.
  expect(await codeOf(store.get("x:a"))).toBe("store_unavailable");
  const calls = [
    store.get("x:a"),
    store.set("x:a", 1),
    store.commit([{ key: "x:a", version: null }], []),
    store.list({ prefix: "x" }),
    store.count("x"),
    store.sweep(1),
    store.ping(),
    store.forTenant("tn_x").set("x:a", 1),
    store.forTenant("tn_x").mget(["x:a"]),
  ];
  expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "store_unavailable"));
  await close();
});

test("K05: supabase: if the database behind PostgREST is down, calls are store_unavailable", async () => {
  const bridge = await startPostgrest({ databaseUrl: database.authenticatorUrl.replace(/:\d+\//, ":1/") });
  const store = createStore(supabaseDriver({ url: bridge.url, serviceKey: API_KEYS.serviceKey }), { clock });
  expect(await Promise.all([codeOf(store.get("x:a")), codeOf(store.set("x:a", 1))])).toEqual(["store_unavailable", "store_unavailable"]);
  await store.close();
  await bridge.close();
});
