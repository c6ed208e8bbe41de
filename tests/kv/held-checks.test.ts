import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SQL_FUNCTIONS } from "../../shared/kv/driver.ts";
import type { SqlDriver, SqlError, SqlFunctionName } from "../../shared/kv/driver.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Mutation, Store } from "../../shared/kv/store.ts";
import { codeOf, freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";
import { auditRecord, tenantRecord } from "./contract/samples.ts";

const add = [{ path: ["n"], by: 1 }];
const fromZero = { initial: { value: { n: 0 } } };
let opened: OpenStore;
let store: Store;
beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
  // Enough that no write waits for a connection.
  store = opened.another({ connections: 20 });
});
afterAll(() => opened.close());

/** Runs an entry point in a separate transaction that stays open while `work` runs. */
async function held(
  name: SqlFunctionName,
  args: Readonly<Record<string, unknown>>,
  work: (end: () => Promise<unknown>) => Promise<unknown>,
): Promise<void> {
  const client = new pg.Client({ connectionString: opened.database.appUrl });
  await client.connect();
  const all: Readonly<Record<string, unknown>> = { checks: [], lock_timeout_ms: 5_000, now: opened.clock.iso(), ...args };
  const parameters = Object.entries(SQL_FUNCTIONS[name]);
  try {
    await client.query("begin");
    await client.query(
      `select public.${name}(${parameters.map(([, type], i) => `$${i + 1}::${type}`).join(", ")})`,
      parameters.map(([parameter, type]) => (type === "jsonb" ? JSON.stringify(all[parameter]) : all[parameter])),
    );
    await work(() => client.query("commit"));
  } finally {
    await client.end();
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test.each([1, 200, 201])(
  "K04: %i absent keys that a commit checks stay absent until it ends, for every kind of write",
  async (count) => {
    const keys = Array.from({ length: count }, (_, i) => `guard${count}:${i}`);
    const [first = "", last = ""] = [keys[0], keys.at(-1)];
    const checks = keys.map((key) => ({ key, version: null }));
    const mutations = [{ op: "set", key: `mark:${count}`, value: 1 }];
    await held("kv_commit", { checks, mutations }, async (end) => {
      let settled = 0;
      const writes = [
        () => store.set(last, { n: 0 }),
        () => store.forTenant("tn_guard").set(first, { n: 0 }),
        () => store.increment(last, add, fromZero),
        () => store.forTenant("tn_guard").increment(last, add, fromZero),
        () => store.mset([[last, { n: 0 }], ["free:guard", 1]]),
        () => store.commit([{ key: last, version: null }], []),
        () => store.commit([{ key: first, version: null }], [{ op: "set", key: first, value: 1 }]),
      ].map((write) => codeOf(write()).finally(() => settled++));
      // Other keys are not locked.
      await store.set(`free:${count}`, 1);
      await store.commit([{ key: "free:none", version: null }], [{ op: "set", key: `free:checked${count}`, value: 1 }]);
      await pause(150);
      expect(settled).toBe(0);
      await end();
      for (const code of await Promise.all(writes)) expect(code).toMatch(/^(no error.*|write_conflict)$/);
    });
  },
);

test("K04: a check on a version holds until its commit ends: no batched write or commit changes the row meanwhile", async () => {
  for (const count of [1, 201]) {
    const keys = Array.from({ length: count }, (_, i) => `present${count}:${i}`);
    await store.mset(keys.map((key) => [key, { n: 0 }]));
    const checks = (await store.mget(keys)).map((entry) => ({ key: entry?.key, version: entry?.version }));
    const key = keys.at(-1) ?? "";
    await held("kv_commit", { checks, mutations: [{ op: "set", key: "mark:present", value: 1 }] }, async (end) => {
      let settled = 0;
      const writes = [
        () => store.set(key, { n: 5 }),
        () => store.increment(key, add),
        () => store.del(key),
        () => store.commit([], [{ op: "deletePrefix", prefix: `present${count}` }]),
      ].map((write) => codeOf(write()).finally(() => settled++));
      await pause(150);
      expect(settled).toBe(0);
      await end();
      for (const code of await Promise.all(writes)) expect(code).toMatch(/^no error/);
    });
  }
});

test("K04: a check on an absent key waits for an uncommitted write of that key, and then sees it", async () => {
  const set = (i: number) => ({ op: "set", key: `late:${i}`, value: 1 });
  const calls: readonly (readonly [SqlFunctionName, Record<string, unknown>])[] = [
    ["kv_write_many", { calls: [set(0)] }],
    ["kv_tenant_write_many", { calls: [{ ...set(1), tenant: "tn_late" }] }],
    ["kv_commit", { mutations: [set(2)] }],
  ];
  for (const [i, [name, args]] of calls.entries()) {
    await held(name, args, async (end) => {
      const many = Array.from({ length: 201 }, (_, at) => ({ key: `late:${at + i}`, version: null }));
      const checked = [store.commit([{ key: `late:${i}`, version: null }], []), store.commit(many, [])];
      await pause(50);
      await end();
      for (const result of await Promise.all(checked)) expect(result).toEqual({ ok: false, conflict: `late:${i}`, reason: "version" });
    });
  }
});

test("K04: of two commits over more than 200 keys with crossed checks, exactly one succeeds, in each of 20 rounds", async () => {
  const [left, right] = await opened.racers(2);
  for (let round = 0; round < 20; round++) {
    const keys = (side: string) => Array.from({ length: 150 }, (_, i) => `wide${round}:${side}:${i}`);
    const commit = (store: typeof left, mine: string, other: string) =>
      store?.commit(keys(other).map((key) => ({ key, version: null })), keys(mine).map((key) => ({ op: "set", key, value: 1 })));
    const results = await Promise.all([commit(left, "a", "b"), commit(right, "b", "a")]);
    expect(results.filter((result) => result?.ok)).toHaveLength(1);
    expect(await opened.store.count(`wide${round}`)).toBe(150);
  }
});

/** Two commits with the same locks in opposite orders, and a lock between them that is held until both wait. */
const CROSSED: readonly (readonly [string, string, (name: string) => Mutation])[] = [
  [
    "keys",
    "select pg_advisory_xact_lock(hashtextextended('cross:m', 0))",
    (name) => ({ op: "increment", key: `cross:${name}`, add, initial: { value: {} } }),
  ],
  [
    "chains",
    "select from kv.chains where scope = 'tn_m' for update",
    (name) => ({ op: "set", key: `audit:tn_${name}:${opened.clock.iso()}:${Math.random()}`, value: auditRecord(name) }),
  ],
  [
    "counted shards",
    "select pg_advisory_xact_lock(hashtext('kv.rollup:tenant'), 8)",
    (name) => ({ op: "set", key: `tenant:tn_${name}${String(Math.random()).slice(2)}`, value: tenantRecord(name) }),
  ],
  [
    "owners",
    "select from kv.owners where owner = 'tn_m' for update",
    (name) => ({ op: "set", key: `cross:${name}:${Math.random()}`, value: 1, tenantId: `tn_${name}` }),
  ],
];

test.each(CROSSED)(
  "K31: commits that lock the same %s in opposite orders do not deadlock",
  async (_, hold, mutation) => {
    const driver = postgresDriver({ connectionString: opened.database.appUrl, max: 12 });
    const states: string[] = [];
    const call = async (...args: Parameters<SqlDriver["call"]>) => {
      try {
        return await driver.call(...args);
      } catch (error) {
        states.push((error as SqlError).sqlState);
        throw error;
      }
    };
    const racer = createStore({ ...driver, call }, { clock: opened.clock });
    const names = [..."abcdefghijklmnopqrstuvwxyz"];
    await racer.commit([], names.map(mutation));
    const holder = new pg.Client({ connectionString: opened.database.superUrl });
    await holder.connect();
    for (let round = 0; round < 3; round++) {
      await holder.query("begin");
      await holder.query(hold);
      const commits = [names, names.toReversed(), names, names.toReversed()].map((some) => racer.commit([], some.map(mutation)));
      await pause(50);
      await holder.query("rollback");
      expect((await Promise.all(commits)).every((result) => result.ok)).toBe(true);
    }
    // A busy machine may let a lock timeout pass, after which the commit is tried again; a deadlock is our order's fault.
    expect(states.filter((state) => state !== "55P03")).toEqual([]);
    await holder.end();
    await racer.close();
  },
);

test("A03: an audit chain that 12 concurrent commits extend has no gap and no fork", async () => {
  const racers = await opened.racers(12);
  await Promise.all(racers.map(async (racer, w) => {
    for (let i = 0; i < 20; i++) {
      const at = opened.clock.iso(i);
      await racer.commit([], [
        { op: "set", key: `audit:tn_chained:${at}:w${w}`, value: auditRecord(`${w}:${i}`) },
        { op: "set", key: `audit:${at}:w${w}`, value: auditRecord(`${w}:${i}`) },
      ]);
    }
  }));
  for (const entries of [await store.getByPrefix("audit:tn_chained"), await platformEntries()]) {
    const links = (entries as { seq: number; prevHash: string; hash: string }[]).toSorted((a, b) => a.seq - b.seq);
    expect(links.map(({ seq }) => seq)).toEqual(Array.from({ length: 240 }, (_, i) => i + 1));
    links.forEach(({ prevHash }, i) => expect(prevHash).toBe(links[i - 1]?.hash ?? "0".repeat(64)));
  }
});

async function platformEntries() {
  const values = [];
  for await (const entry of store.entries({ prefix: "audit" })) if (entry.tenantId === null) values.push(entry.value);
  return values;
}
