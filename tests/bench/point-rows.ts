import type { Store } from "../../shared/kv/store.ts";
import type { Habit } from "./habit.ts";
import { interleave, ratio } from "./measure.ts";
import type { Measured } from "./measure.ts";
import { rate } from "./report.ts";
import type { Row } from "./report.ts";

const TENANTS = 100_000;
const tenantId = (i: number) => `tn_${String((i * 7919) % TENANTS).padStart(7, "0")}`;
const value = (i: number) => ({ id: tenantId(i), name: `Hotel ${i}`, note: "x".repeat(200), current: i });

/** Single-key reads and writes, alone and from many callers. */
export async function pointRows(store: Store, habit: Habit, report: (row: Row) => void): Promise<void> {
  await gets(store, habit, report);
  await sets(store, habit, report);
  await increments(store, habit, report);
  await batches(store, habit, report);
}

function named(measured: readonly Measured[]) {
  return (name: string) => measured.find((m) => m.name === name);
}

async function gets(store: Store, habit: Habit, report: (row: Row) => void): Promise<void> {
  const raw = habit.pool;
  for (const [callers, target] of [[1, 0.8], [16, 3], [64, 6]] as const) {
    const of = named(
      await interleave([
        { name: "store", run: (i) => store.get(`tenant:${tenantId(i)}`) },
        { name: "tenant", run: (i) => store.forTenant(tenantId(i)).get(`tenant:${tenantId(i)}`) },
        { name: "habit", run: (i) => habit.get(`tenant:${tenantId(i)}`) },
        {
          name: "raw",
          run: (i) => raw.query({ name: "raw_get", text: "select value from kv_store where key = $1", values: [`tenant:${tenantId(i)}`] }),
        },
      ], { callers, operations: callers === 1 ? 1_500 : 6_000, rounds: 7 }),
    );
    report({
      operation: "get, service level",
      callers,
      store: rate(of("store")),
      other: `habit ${rate(of("habit"))}`,
      ratio: ratio(of("store"), of("habit")),
      target,
    });
    report({
      operation: "get, tenant-bound",
      callers,
      store: rate(of("tenant")),
      other: `habit ${rate(of("habit"))}`,
      ratio: ratio(of("tenant"), of("habit")),
      target: null,
    });
    report({
      operation: "get, service level",
      callers,
      store: rate(of("store")),
      other: `raw prepared statement ${rate(of("raw"))}`,
      ratio: ratio(of("store"), of("raw")),
      target: callers === 16 ? 1.2 : null,
    });
  }
}

async function sets(store: Store, habit: Habit, report: (row: Row) => void): Promise<void> {
  for (const [callers, target] of [[1, null], [16, 2], [64, 2]] as const) {
    const of = named(
      await interleave([
        { name: "store", run: (i) => store.set(`bench:${tenantId(i)}`, value(i)) },
        { name: "habit", run: (i) => habit.set(`bench:${tenantId(i)}`, value(i)) },
      ], { callers, operations: callers === 1 ? 300 : 2_000, rounds: 7 }),
    );
    report({
      operation: "set, durable",
      callers,
      store: rate(of("store")),
      other: `habit ${rate(of("habit"))}`,
      ratio: ratio(of("store"), of("habit")),
      target,
    });
  }
}

async function increments(store: Store, habit: Habit, report: (row: Row) => void): Promise<void> {
  const add = (key: string) => store.increment(key, [{ path: ["current"], by: 1 }], { initial: { value: { current: 0 } } });
  for (const [callers, target] of [[16, 12], [64, 50]] as const) {
    const hot = `usage:tn_0000001:api_calls:2027-${callers === 16 ? "01" : "02"}`;
    const operations = { store: 8_000, habit: 1_000 };
    const of = named(
      await interleave([
        { name: "store", run: () => add(hot) },
        { name: "habit", run: () => habit.increment(hot) },
      ], { callers, operations, rounds: 7 }),
    );
    const sum = (await store.get(hot))?.value as { readonly current: number };
    const lost = (await habit.get(hot))?.["current"];
    if (sum.current !== 8 * 8_000) throw new Error(`the store counted ${sum.current} of ${8 * 8_000}`);
    report({
      operation: "increment of one hot key",
      callers,
      store: rate(of("store")),
      other: `habit ${rate(of("habit"))}`,
      ratio: ratio(of("store"), of("habit")),
      target,
      note: `${callers} callers: none of ${(8 * 8_000).toLocaleString("en-US")} lost; the habit kept ${lost} of ${8 * 1_000}`,
    });
    report({
      operation: "increment of one hot key, p99 in ms",
      callers,
      store: `${of("store")?.p99Ms.toFixed(2)} ms`,
      other: "–",
      ratio: of("store")?.p99Ms ?? 0,
      target: 5,
      atMost: true,
    });
  }
  const spread = (i: number) => `usage:${tenantId(i % 1_000)}:bookings:2027-03`;
  const of = named(
    await interleave([
      { name: "store", run: (i) => add(spread(i)) },
      { name: "habit", run: (i) => habit.increment(spread(i)) },
    ], { callers: 16, operations: { store: 4_000, habit: 1_000 }, rounds: 7 }),
  );
  report({
    operation: "increments over 1,000 keys",
    callers: 16,
    store: rate(of("store")),
    other: `habit ${rate(of("habit"))}`,
    ratio: ratio(of("store"), of("habit")),
    target: 5,
  });
}

async function batches(store: Store, habit: Habit, report: (row: Row) => void): Promise<void> {
  const keys = (i: number) => Array.from({ length: 100 }, (_, k) => `tenant:${tenantId(i * 100 + k)}`);
  const gets = named(
    await interleave([
      { name: "store", run: (i) => store.mget(keys(i)) },
      { name: "habit", run: (i) => habit.mget(keys(i)) },
      { name: "singly", run: (i) => Promise.all(keys(i).map((key) => habit.get(key))) },
    ], { callers: 1, operations: 100, rounds: 7 }),
  );
  report({
    operation: "mget 100",
    callers: 1,
    store: rate(gets("store")),
    other: `habit, one unordered \`in\` ${rate(gets("habit"))}`,
    ratio: ratio(gets("store"), gets("habit")),
    target: 1.5,
  });
  report({
    operation: "mget 100",
    callers: 1,
    store: rate(gets("store")),
    other: `habit, one get a key, 16 at a time ${rate(gets("singly"))}`,
    ratio: ratio(gets("store"), gets("singly")),
    target: null,
  });
  const pairs = (i: number) => Array.from({ length: 100 }, (_, k) => [`bench:m${(i * 100 + k) % 20_000}`, value(k)] as const);
  const sets = named(
    await interleave([
      { name: "store", run: (i) => store.mset(pairs(i)) },
      { name: "habit", run: (i) => habit.mset(pairs(i)) },
      { name: "one", run: (i) => habit.msetInOneStatement(pairs(i)) },
    ], { callers: 1, operations: 20, rounds: 7 }),
  );
  report({
    operation: "mset 100",
    callers: 1,
    store: rate(sets("store")),
    other: `habit, one set after the other ${rate(sets("habit"))}`,
    ratio: ratio(sets("store"), sets("habit")),
    target: 8,
  });
  report({
    operation: "mset 100",
    callers: 1,
    store: rate(sets("store")),
    other: `habit, one upsert ${rate(sets("one"))}`,
    ratio: ratio(sets("store"), sets("one")),
    target: null,
  });
}
