import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../shared/kernel/clock.ts";
import type { JsonValue } from "../../shared/kernel/json.ts";
import { remainingMs } from "../../shared/kv/deadline.ts";
import { SqlError, TimeoutFault } from "../../shared/kv/driver.ts";
import type { SqlArguments, SqlDriver, SqlFunctionName } from "../../shared/kv/driver.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import { withClient } from "../support/client.ts";
import { codeOf, freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";

let opened: OpenStore;
beforeAll(async () => void (opened = await freshStore({ driver: "postgres" })));
afterAll(() => opened.close());

const add = [{ path: ["n"], by: 1 }];

/** Calls in one batch: a write in flight makes them wait together. */
async function together<T>(...calls: readonly (() => Promise<T>)[]): Promise<string[]> {
  const first = opened.store.set("busy:lane", 1);
  const outcomes = await Promise.all(calls.map((call) => codeOf(call())));
  await first;
  return outcomes;
}

/** Another session's lock on rows, until the returned function is called. */
async function held(sql: string): Promise<() => Promise<void>> {
  const holder = new pg.Client({ connectionString: opened.database.superUrl });
  await holder.connect();
  await holder.query("begin");
  await holder.query(sql);
  return async () => {
    await holder.query("rollback");
    await holder.end();
  };
}

test("K06: increments that leave their batch as commits return the results of those commits", async () => {
  const { store } = opened;
  await store.set("outbox:kept", { n: 0 });
  await store.set("hot:held", { n: 0 });
  const release = await held("select from kv.entries where key = 'hot:held' for update");
  setTimeout(() => void release(), 50);
  const kept = () => store.increment("outbox:kept", add);
  const hot = () => store.increment("hot:held", add, { initial: { value: { n: 0 } } });
  const codes = await together(kept, kept, hot, hot, () => store.increment("none:there", add));
  expect(codes.map((code) => code.slice(0, 8))).toEqual(Array(5).fill("no error"));
  expect((await store.mget(["outbox:kept", "hot:held", "none:there"])).map((entry) => entry?.value)).toEqual([
    { n: 2 },
    { n: 2 },
    undefined,
  ]);
});

test("K06: an increment of a record with a rollup checks its bounds against the record, not its initial value", async () => {
  const { store } = opened;
  await store.set("tenant:tn_r", { status: "active", plan: "Pro", mrr: 1 });
  const beside = () => store.increment("free:counter", add, { initial: { value: { n: 0 } } });
  const mrr = (max: number | undefined, initial: unknown) => () =>
    store.increment("tenant:tn_r", [{ path: ["mrr"], by: 1, ...(max === undefined ? {} : { max }) }], {
      initial: { value: { mrr: initial } as never },
    });
  expect((await together(beside, mrr(5, 5)))[1]).toMatch(/^no error/);
  expect((await together(beside, mrr(undefined, "none")))[1]).toMatch(/^no error/);
  expect((await together(beside, mrr(3, 0)))[1]).toBe("write_conflict");
  expect((await store.get("tenant:tn_r"))?.value).toMatchObject({ mrr: 3 });
});

test("K21: a call that makes a record too large is refused, also if a later call of its batch makes it small again", async () => {
  const { store } = opened;
  await store.set("big:record", { n: 0, base: "b".repeat(100_000) });
  const merge = (more: string) => () => store.increment("big:record", add, { merge: { more } });
  const codes = await together(merge("m".repeat(200_000)), merge(""));
  expect(codes[0]).toBe("payload_too_large");
  expect(codes[1]).toMatch(/^no error/);
  expect((await store.get("big:record"))?.value).toMatchObject({ n: 1, more: "" });
});

test.each<[string, JsonValue]>([
  ["text beyond ASCII", "é".repeat(80_000)],
  ["numbers, stored digit by digit", Array.from({ length: 600 }, () => 5e-324)],
])("K21: so is a call whose record is too large for its %s, though a later call sends as much", async (name, text) => {
  const { store } = opened;
  const key = `big:${name.length}`;
  await store.set(key, { n: 0, base: "b".repeat(150_000) });
  const merge = (more: JsonValue) => () => store.increment(key, add, { merge: { more } });
  const codes = await together(merge(text), merge("m".repeat(80_000)));
  expect(codes[0]).toBe("payload_too_large");
  expect(codes[1]).toMatch(/^no error/);
  expect((await store.get(key))?.value).toMatchObject({ n: 1 });
});

test("K31: 200 commits that wait for one tenant's lock delay another tenant's read by less than a second", async () => {
  const store = opened.another({ connections: 10 });
  await Promise.all(Array.from({ length: 20 }, (_, i) => store.list({ prefix: `warm${i}` })));
  await store.set("held:tenant", 1, { tenantId: "tn_held" });
  const release = await held("select from kv.owners where owner = 'tn_held' for update");
  const stuck = Array.from(
    { length: 200 },
    (_, i) => codeOf(store.commit([], [{ op: "set", key: `held:${i}`, value: 1, tenantId: "tn_held" }])),
  );
  await sleep(100);
  for (const read of [() => store.get("a:b"), () => store.list({ prefix: "a" }), () => store.count("a")]) {
    const start = performance.now();
    await read();
    expect(performance.now() - start).toBeLessThan(1_000);
  }
  await release();
  expect((await Promise.all(stuck)).filter((code) => !code.startsWith("no error"))).toEqual([]);
});

test("K14: a list with keysOnly does not read TOASTed values", async () => {
  const { store } = opened;
  for (let at = 0; at < 20; at++) await store.set(`blob:${at}`, { t: randomBytes(20_000).toString("hex") });
  // A session reports its statistics when it ends.
  const reads = async (keysOnly: boolean) => {
    const reader = opened.another({ connections: 1 });
    await reader.list({ prefix: "blob", keysOnly });
    await reader.close();
    await sleep(100);
    return await withClient(opened.database.superUrl, async (client) => {
      const { rows: [row] } = await client.query<{ n: string }>(
        "select coalesce(toast_blks_hit, 0) + coalesce(toast_blks_read, 0) as n from pg_statio_all_tables where relid = 'kv.entries_default'::regclass",
      );
      return Number(row?.n);
    });
  };
  await reads(true);
  const before = await reads(true);
  const after = await reads(true);
  expect([after - before, (await reads(false)) > after]).toEqual([0, true]);
});

test("K08: mget of 300 keys of 150 families keeps the order of its keys", async () => {
  const { store } = opened;
  const keys = Array.from({ length: 300 }, (_, i) => `f${i % 150}:${i}`);
  await store.mset(keys.filter((_, i) => i % 3 > 0).map((key) => [key, { key }]));
  const found = await store.mget(keys.toReversed());
  expect(found.map((entry) => entry?.key ?? null).reverse()).toEqual(keys.map((key, i) => i % 3 > 0 ? key : null));
});

test("K31: after connections are terminated together, a write that was never sent is not commit_unknown", async () => {
  const store = opened.another({ connections: 10 });
  const outcomes: string[] = [];
  const outcome = (call: Promise<unknown>) =>
    call.then(() => "ok", (error: { code: string; cause?: { cause?: Error } }) => `${error.code}: ${error.cause?.cause?.message ?? ""}`);
  for (let round = 0; round < 20; round++) {
    await Promise.all(Array.from({ length: 30 }, (_, i) => store.list({ prefix: `warm${i}` })));
    await withClient(
      opened.database.superUrl,
      (client) =>
        client.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'innkeep_app' and datname = current_database()",
        ),
    );
    const set = { op: "set", key: `after:${round}`, value: 1 } as const;
    outcomes.push(
      ...await Promise.all([
        outcome(store.set(`gone:${round}`, 1)),
        outcome(store.commit([{ key: set.key, version: null }], [set])),
        outcome(store.mset([[`many:${round}`, 1]])),
      ]),
    );
    await sleep(20);
  }
  expect(outcomes.filter((text) => text.startsWith("commit_unknown") && text.includes("not queryable"))).toEqual([]);
  expect(outcomes).toContain("ok");
});

test("R07: a tenant's increment of another tenant's row reveals nothing of it, also in one batch with its owner's", async () => {
  const { store } = opened;
  const [owner, other] = [store.forTenant("tn_owner"), store.forTenant("tn_stranger")];
  await owner.set("free:secret", { n: "text" });
  await owner.set("free:count", { n: 1 });
  const first = store.forTenant("tn_lane").set("busy:tenants", 1);
  const codes = await Promise.all([
    codeOf(owner.increment("free:count", add)),
    codeOf(other.increment("free:secret", add)),
    codeOf(other.increment("free:secret", [{ path: ["n", "deep"], by: 1 }], { initial: { value: {} } })),
  ]);
  await first;
  expect(codes[0]).toMatch(/^no error/);
  expect(codes.slice(1).filter((code) => /validation|number|object/.test(code))).toEqual([]);
});

test("K23: moving a row to a deleted tenant is refused, and its tenant keeps it", async () => {
  const { store } = opened;
  await store.set("given:row", 1, { tenantId: "tn_giver" });
  await store.commit([], [{ op: "deleteOwner", tenantId: "tn_taker" }]);
  expect(await codeOf(store.set("given:row", 2, { tenantId: "tn_taker" }))).toBe("tenant_deleted");
  expect(await store.get("given:row")).toMatchObject({ value: 1, tenantId: "tn_giver" });
  await store.set("given:row", 3, { tenantId: "tn_other" });
  expect(await store.get("given:row")).toMatchObject({ value: 3, tenantId: "tn_other" });
});

test("K23: in a family with a tenant segment, `global` is the platform", async () => {
  const { store } = opened;
  await store.set("usage:global:rooms:2026-03", { n: 1 });
  await store.commit([], [{ op: "set", key: "usage:global:users:2026-03", value: { n: 1 } }]);
  const found = await store.mget(["usage:global:rooms:2026-03", "usage:global:users:2026-03"]);
  expect(found.map((entry) => entry?.tenantId)).toEqual([null, null]);
});

/** A driver without a database that returns what `answer` returns, and enforces deadlines. */
function driverOf(timeoutMs: number, answer: (name: SqlFunctionName, args: SqlArguments) => Promise<unknown>): SqlDriver {
  return {
    timeoutMs,
    call: (name, args, deadline = performance.now() + timeoutMs) =>
      Promise.race([
        answer(name, args),
        sleep(remainingMs(deadline)).then(() => {
          throw new TimeoutFault(true, timeoutMs);
        }),
      ]),
    ping: () => Promise.resolve({}),
    close: () => Promise.resolve(),
  };
}

interface SentCall {
  readonly key: string;
  readonly value: number;
}
const never = () => new Promise<never>(() => undefined);

test("K31: a call that waited in the queue and found its key locked ends by its own deadline, not that of a later call", async () => {
  let batches = 0;
  const store = createStore(
    driverOf(1_500, async (name, { calls }) => {
      if (name !== "kv_write_many") return await never();
      if (batches++ > 0) {
        return { versions: {}, values: {}, faults: Object.fromEntries((calls as SentCall[]).map(({ key }) => [key, { fault: "busy" }])) };
      }
      await sleep(900);
      return { versions: { "a:first": "1" }, values: {}, faults: {} };
    }),
    { clock: systemClock },
  );
  void store.set("a:first", 1);
  const start = performance.now();
  const old = codeOf(store.set("a:old", 1)).then((code) => ({ code, ms: performance.now() - start }));
  await sleep(850);
  const young = codeOf(store.set("a:young", 1));
  const { code, ms } = await old;
  expect(code).toBe("commit_unknown");
  expect(ms).toBeLessThan(1_900);
  await young;
});

test("K31: a second after a batch begins to hang, other calls are sent at once, and calls of its keys wait for it", async () => {
  const rows: Record<string, number> = {};
  let batches = 0;
  const store = createStore(
    driverOf(4_000, async (_, { calls }) => {
      if (batches++ === 0) await sleep(2_500);
      for (const { key, value } of calls as SentCall[]) rows[key] = value;
      return { versions: Object.fromEntries((calls as SentCall[]).map(({ key }) => [key, "1"])), values: {}, faults: {} };
    }),
    { clock: systemClock },
  );
  const first = store.set("a:hung", 1);
  const second = store.set("a:hung", 2);
  await sleep(1_200);
  const start = performance.now();
  await store.set("a:next", 1);
  expect(performance.now() - start).toBeLessThan(500);
  await Promise.all([first, second]);
  expect(rows["a:hung"]).toBe(2);
});

test("K31: a call that fails while its batch is sent again in halves does not end the process", async () => {
  const unhandled: unknown[] = [];
  const record = (error: unknown) => unhandled.push(error);
  process.on("unhandledRejection", record);
  const store = createStore(
    driverOf(4_000, async (name, { calls }) => {
      if (name !== "kv_write_many") throw new SqlError("KV007", "deleted");
      const keys = (calls as SentCall[]).map(({ key }) => key);
      if (keys.includes("a:first")) return { versions: { "a:first": "1" }, values: {}, faults: {} };
      if (keys.length > 1) throw new SqlError("XX000", "unexpected");
      if (keys[0] === "a:gone") throw new SqlError("55P03", "locked");
      await sleep(50);
      return { versions: { [keys[0] ?? ""]: "1" }, values: {}, faults: {} };
    }),
    { clock: systemClock },
  );
  const first = store.set("a:first", 1);
  const codes = await Promise.all([codeOf(store.set("a:gone", 1)), codeOf(store.set("a:slow", 1))]);
  await first;
  process.off("unhandledRejection", record);
  expect(codes.map((code) => code.slice(0, 8))).toEqual([expect.not.stringContaining("no error"), "no error"]);
  expect(unhandled).toEqual([]);
});

test("U12: increments with one upper bound are merged while their sum fits, and of those beyond it each is decided alone", async () => {
  const { store } = opened;
  await store.set("hot:bounded", { n: 0 });
  const within = (by: number) => () => store.increment("hot:bounded", [{ path: ["n"], by, max: 10 }]);
  const codes = await together(within(1), within(2), within(0), within(3));
  expect(codes.map((code) => code.slice(0, 8))).toEqual(Array(4).fill("no error"));
  expect((await store.get("hot:bounded"))?.value).toEqual({ n: 6 });
  const more = await together(...Array.from({ length: 9 }, () => within(1)));
  expect(more.filter((code) => code === "write_conflict")).toHaveLength(5);
  expect((await store.get("hot:bounded"))?.value).toEqual({ n: 10 });
});
