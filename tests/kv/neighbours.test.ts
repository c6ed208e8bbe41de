import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { SqlDriver } from "../../shared/kv/driver.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Store } from "../../shared/kv/store.ts";
import { withClient } from "../support/client.ts";
import { freshDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { codeOf, testClock } from "../support/store.ts";

const CALLS = 200;
const REFUSED_AT = 77;
const add = [{ path: ["n"], by: 1 }];
const clock = testClock();
let database: TestDatabase;
let store: Store;
let sqlCalls: string[] = [];

beforeAll(async () => {
  database = await freshDatabase();
  const driver = postgresDriver({ connectionString: database.appUrl, max: 10 });
  const counting: SqlDriver = {
    ...driver,
    call: (name, args, deadline) => {
      sqlCalls.push(name);
      return driver.call(name, args, deadline);
    },
  };
  store = createStore(counting, { clock });
  await store.mset([["own:text", { n: "5" }], ["own:full", { n: 3 }], ["own:large", { text: "v".repeat(250_000) }]]);
  await store.set("own:dead", 1, { tenantId: "tn_dead" });
  await store.commit([], [{ op: "deleteOwner", tenantId: "tn_dead" }]);
  await withClient(database.superUrl, (client) =>
    client.query(`
      create function public.refuse_odd() returns trigger language plpgsql as $$ begin
        if new.key like 'odd:%' then raise exception 'unexpected' using errcode = 'P0001'; end if;
        return new;
      end $$;
      create trigger refuse_odd before insert or update on kv.entries_default for each row execute function public.refuse_odd()`));
});

afterAll(async () => {
  await store.close();
  await database.drop();
});

/** Makes 200 calls of `other` in one batch, with `odd` in place of one. A write in flight makes them wait together. */
async function together(other: (i: number) => Promise<unknown>, odd: () => Promise<unknown>) {
  const first = store.set("busy:lane", 1);
  const tenantFirst = store.forTenant("tn_lane").set("busy:tenant-lane", 1);
  sqlCalls = [];
  const outcomes = await Promise.all(Array.from({ length: CALLS }, async (_, i) => {
    if (i === REFUSED_AT) return await codeOf(odd());
    return await other(i).then(() => "ok", (error: unknown) => String(error));
  }));
  await Promise.all([first, tenantFirst]);
  return outcomes;
}

const onlyOne = (code: string) => Array.from({ length: CALLS }, (_, i) => (i === REFUSED_AT ? code : "ok"));
const tiny = Array.from({ length: 900 }, () => 5e-324);

const REFUSALS: readonly (readonly [string, string, () => Promise<unknown>])[] = [
  ["out of its bounds", "write_conflict", () => store.increment("own:full", [{ path: ["n"], by: 1, max: 3 }])],
  ["that adds to a text", "validation_failed", () => store.increment("own:text", add)],
  ["of a deleted tenant", "tenant_deleted", () => store.set("own:ghost", 1, { tenantId: "tn_dead" })],
  ["of another tenant's key", "key_owner_mismatch", () => store.set("subscription:tn_a", {}, { tenantId: "tn_b" })],
  ["of a value whose stored text is too large", "payload_too_large", () => store.set("own:tiny", tiny)],
  [
    "that makes its record too large",
    "payload_too_large",
    () => store.increment("own:large", add, { merge: { more: "v".repeat(20_000) } }),
  ],
];

const TENANT_REFUSALS: readonly (readonly [string, string, (own: Store) => Promise<unknown>])[] = [
  [
    "out of its bounds",
    "write_conflict",
    (own) => own.increment("mine:none", [{ path: ["n"], by: 1, max: 0 }], { initial: { value: {} } }),
  ],
  ["that adds to a text", "validation_failed", (own) => own.increment("mine:none", add, { initial: { value: { n: "5" } } })],
  ["of a deleted tenant", "tenant_deleted", () => store.forTenant("tn_dead").set("mine:ghost", 1)],
  ["of another tenant's key", "key_owner_mismatch", (own) => own.set("subscription:tn_other", {})],
  ["of another tenant's row", "write_conflict", (own) => own.set("mine:0", 1)],
];

test.each(REFUSALS)("K31: in a batch of 200, only the write %s is refused, with %s, in few calls", async (_, code, odd) => {
  const outcomes = await together((i) => store.increment(`fine:${i}`, add, { initial: { value: {} } }), odd);
  expect(outcomes).toEqual(onlyOne(code));
  expect(sqlCalls.length).toBeLessThanOrEqual(Math.ceil(Math.log2(CALLS)) + 2);
});

test.each(TENANT_REFUSALS)("K31: in a batch of 200 tenants, only the write %s is refused, with %s, in few calls", async (_, code, odd) => {
  const outcomes = await together((i) => store.forTenant(`tn_${i}`).set(`mine:${i}`, i), () => odd(store.forTenant("tn_odd")));
  expect(outcomes).toEqual(onlyOne(code));
  expect(sqlCalls.length).toBeLessThanOrEqual(Math.ceil(Math.log2(CALLS)) + 2);
});

test("K31: in a batch of 200, only the write that the database refuses with an unexpected error fails", async () => {
  const outcomes = await together((i) => store.set(`fine:${i}`, i), () => store.set("odd:one", 1));
  expect(outcomes).toEqual(onlyOne("internal"));
  expect(sqlCalls.length).toBeLessThanOrEqual(2 * Math.ceil(Math.log2(CALLS)) + 2);
});

test("K06: each of 200 increments in one batch returns the record after its own call", async () => {
  await store.set("shared:n", { n: 0 });
  const first = store.set("busy:lane", 2);
  const seen = await Promise.all(
    Array.from(
      { length: CALLS },
      (_, i) =>
        i % 4 === 0
          ? codeOf(store.increment("own:text", add))
          : i % 2
          ? store.increment("shared:n", [{ path: ["n"], by: i }]).then((entry) => (entry?.value as { n: number }).n)
          : store.increment(`apart:${i}`, [{ path: ["n"], by: i }], { initial: { value: { n: 0.5 } } }).then((entry) =>
            (entry?.value as { n: number }).n
          ),
    ),
  );
  await first;
  let sum = 0;
  expect(seen).toEqual(seen.map((_, i) => (i % 4 === 0 ? "validation_failed" : i % 2 ? sum += i : i + 0.5)));
});

/** Statements by which another session takes locks, and the writes that wait for them. */
interface Hold {
  readonly sql: readonly string[];
  readonly stuck: () => Promise<unknown>[];
}

const INSERT = "insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)";
const insertOf = (keys: readonly string[], owner: string | null) =>
  `${INSERT} select k, '{"n": 0}', nextval('kv.versions'), ${owner === null ? "null" : `'${owner}'`}, true, now(), now()
    from unnest('{${keys.join(",")}}'::text[]) k`;

const four = (name: string) => Array.from({ length: 4 }, (_, i) => `${name}:${i}`);
const HOLDS: Readonly<Record<string, () => Promise<Hold>>> = {
  "a row locked for update": async () => {
    await store.set("held:row", { n: 0 });
    return { sql: ["select from kv.entries where key = 'held:row' for update"], stuck: () => [store.increment("held:row", add)] };
  },
  "an uncommitted row of the same key": () =>
    Promise.resolve({ sql: [insertOf(["held:new"], null)], stuck: () => [store.set("held:new", 1)] }),
  "a tenant's row locked for update": async () => {
    await store.forTenant("tn_held").set("held:own", { n: 0 });
    return {
      sql: ["select from kv.entries where key = 'held:own' for update"],
      stuck: () => [store.forTenant("tn_held").increment("held:own", add)],
    };
  },
  "four rows locked for update": async () => {
    await store.mset(four("held:many").map((key) => [key, { n: 0 }]));
    return {
      sql: ["select from kv.entries where key like 'held:many:%' for update"],
      stuck: () => four("held:many").map((key) => store.increment(key, add)),
    };
  },
  "four uncommitted rows": () =>
    Promise.resolve({ sql: [insertOf(four("held:fresh"), null)], stuck: () => four("held:fresh").map((key) => store.set(key, 1)) }),
  "the row of an owner": async () => {
    await store.forTenant("tn_locked").set("held:first", 1);
    return {
      sql: ["select from kv.owners where owner = 'tn_locked' for update"],
      stuck: () => four("held:owned").map((key) => store.forTenant("tn_locked").set(key, 1)),
    };
  },
  "an owner's uncommitted row": () =>
    Promise.resolve({
      sql: ["select pg_advisory_xact_lock(hashtextextended('tn_first', 2))", "insert into kv.owners (owner) values ('tn_first')"],
      stuck: () => four("held:begun").map((key) => store.forTenant("tn_first").set(key, 1)),
    }),
};

/** Runs `work` while another session holds the locks that `sql` takes. */
async function holding<T>(sql: readonly string[], work: (release: () => Promise<unknown>) => Promise<T>): Promise<T> {
  const holder = new pg.Client({ connectionString: database.superUrl });
  await holder.connect();
  try {
    await holder.query("begin");
    for (const statement of sql) await holder.query(statement);
    return await work(() => holder.query("rollback"));
  } finally {
    await holder.end();
  }
}

/** 20 writes of other keys and tenants: new and existing rows, rows with a rollup, rows without cascade, and rows of a tenant. */
const unrelated = (round: string): Promise<unknown>[] =>
  Array.from({ length: 4 }, (_, i) => [
    store.set(`free:${round}:${i}`, i),
    store.increment("free:counter", add, { initial: { value: {} } }),
    store.set(`tenant:tn_free${round}${i}`, { id: `tn_free${round}${i}`, status: "active", plan: "Pro" }),
    store.set(`free:paper:${i}`, i, { tenantId: "tn_free", cascades: false }),
    store.forTenant(`tn_free${i}`).set(`free:${round}:own:${i}`, i),
  ]).flat();

test.each(Object.keys(HOLDS))(
  "K31: while another session holds %s, 20 unrelated writes complete, and the waiting ones after it is released",
  async (name) => {
    const { sql, stuck } = await HOLDS[name]?.() ?? { sql: [], stuck: () => [] };
    await holding(sql, async (release) => {
      let settled = 0;
      const start = performance.now();
      const first = [store.set("busy:lane", 3), store.forTenant("tn_lane").set("busy:tenant-lane", 3)];
      const waiting = stuck().map((call) => codeOf(call).finally(() => settled++));
      await Promise.all([...first, ...unrelated(`a${name.length}`)]);
      // Also writes that begin while others wait.
      await Promise.all(unrelated(`b${name.length}`));
      // They did not wait for the lock timeout of 5 s.
      expect(performance.now() - start).toBeLessThan(4_000);
      expect(settled).toBe(0);
      await release();
      for (const code of await Promise.all(waiting)) expect(code).toMatch(/^no error/);
    });
  },
);

test("K31: only the write whose lock stays held fails, with store_unavailable after the lock timeout, and it writes nothing", async () => {
  await store.set("held:long", { n: 0 });
  await holding(["select from kv.entries where key = 'held:long' for update"], async () => {
    const stuck = codeOf(store.increment("held:long", add));
    await Promise.all(unrelated("c"));
    expect(await stuck).toBe("store_unavailable");
  });
  expect((await store.get("held:long"))?.value).toEqual({ n: 0 });
});

test("K06: an increment of a locked row waits for it and never treats it as absent", async () => {
  await store.mset([["held:plain", { n: 5 }], ["held:bounds", { n: 5 }], ["held:type", { n: 5 }]]);
  await holding(["select from kv.entries where key like 'held:%' for update"], async (release) => {
    const initial = { value: { n: "none" } };
    const calls = [
      store.increment("held:plain", add),
      store.increment("held:bounds", [{ path: ["n"], by: -1, min: 0 }], { initial: { value: { n: 0 } } }),
      store.increment("held:type", add, { initial }),
    ];
    const settled = Promise.all(calls.map((call) => call.then((entry) => entry?.value ?? null, (error: unknown) => String(error))));
    await store.set("free:held", 1);
    await release();
    expect(await settled).toEqual([{ n: 6 }, { n: 4 }, { n: 6 }]);
  });
});

/** A lock that delays one write of a batch, and that write. */
const ONE_STUCK: readonly (readonly [string, readonly string[], () => Promise<unknown>])[] = [
  ["row", ["select from kv.entries where key = 'held:one' for update"], () => store.increment("held:one", add)],
  ["key", ["select pg_advisory_xact_lock(hashtextextended('held:key', 0))"], () => store.set("held:key", 1)],
  ["owner", ["select from kv.owners where owner = 'tn_stuck' for update"], () => store.set("held:of", 1, { tenantId: "tn_stuck" })],
  [
    "new owner",
    ["select pg_advisory_xact_lock(hashtextextended('tn_coming', 2))", "insert into kv.owners (owner) values ('tn_coming')"],
    () => store.set("held:of:coming", 1, { tenantId: "tn_coming" }),
  ],
];

test.each(ONE_STUCK)(
  "K31: if another session holds a %s, one write of a batch of 200 becomes a commit and no other",
  async (_, sql, write) => {
    await store.set("held:one", { n: 0 });
    await store.set("held:of:stuck", 1, { tenantId: "tn_stuck" });
    await holding(sql, async (release) => {
      let stuck: Promise<string> | undefined;
      const outcomes = await together((i) => store.set(`beside:${i}`, i, i % 2 ? {} : { tenantId: `tn_beside${i}` }), () => {
        stuck = codeOf(write());
        return Promise.resolve(1);
      });
      expect(outcomes.filter((outcome) => outcome === "ok")).toHaveLength(CALLS - 1);
      // One attempt with the short lock timeout, then one with the long one.
      expect(sqlCalls.filter((name) => name === "kv_commit").length).toBeLessThanOrEqual(2);
      await release();
      expect(await stuck).toMatch(/^no error/);
    });
  },
);

test("K18: a sweep skips rows that another session holds, and deletes them after the release", async () => {
  await store.mset(["a", "b", "c"].map((name) => [`swept:${name}`, 1]), { expiresAt: clock.iso(10) });
  clock.advance(10);
  await holding(["select from kv.entries where key = 'swept:b' for update"], async () => {
    expect(await store.sweep(10)).toBe(2);
  });
  expect([await store.sweep(10), await store.sweep(10)]).toEqual([1, 0]);
});

test("K31: twelve writes that wait for one tenant's lock do not delay reads and writes of another tenant", async () => {
  await store.set("held:tenant", 1, { tenantId: "tn_dozen" });
  await holding(["select from kv.owners where owner = 'tn_dozen' for update"], async (release) => {
    const stuck = Array.from(
      { length: 12 },
      (_, i) =>
        codeOf(
          i % 2
            ? store.set("tenant:tn_dozen", { id: "tn_dozen", i })
            : store.commit([], [{ op: "set", key: `held:${i}`, value: 1, tenantId: "tn_dozen" }]),
        ),
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
    const start = performance.now();
    await Promise.all([store.get("free:counter"), store.set("free:stranger", 1), store.forTenant("tn_stranger").list({ prefix: "free" })]);
    expect(performance.now() - start).toBeLessThan(3_000);
    await release();
    for (const code of await Promise.all(stuck)) expect(code).toMatch(/^(no error.*|store_unavailable)$/);
  });
});
