import { withClient } from "../support/client.ts";
import type { Store } from "../../shared/kv/store.ts";
import type { Habit } from "./habit.ts";
import { byName, interleave, ratio } from "./measure.ts";
import { ms, rate } from "./report.ts";
import type { Row } from "./report.ts";

const TENANTS = 100_000;
const tenantId = (i: number) => `tn_${String((i * 7919) % TENANTS).padStart(7, "0")}`;
const value = (i: number) => ({ id: tenantId(i), name: `Hotel ${i}`, note: "x".repeat(200), current: i });

/** Keys of the family `subdomain`, which has no indexed fields. The rows belong to the platform. */
const plainKey = (i: number) => `subdomain:b${i % 20_000}`;
const PLAIN_KEYS = "keys `subdomain:…`, a declared family without indexed fields; the rows belong to the platform";

/** Single-key reads and writes by one and by many callers, and operations on 100 keys. */
export async function pointRows(store: Store, habit: Habit, appUrl: string, report: (row: Row) => void): Promise<void> {
  await gets(store, habit, report);
  await sets(store, habit, report);
  await timeInDatabase(appUrl, report);
  await increments(store, habit, report);
  await batches(store, habit, report);
}

async function gets(store: Store, habit: Habit, report: (row: Row) => void): Promise<void> {
  const raw = habit.pool;
  for (const [callers, target] of [[1, 0.9], [16, 3], [64, 6]] as const) {
    const of = byName(
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
      against: "habit",
      other: rate(of("habit")),
      ratio: ratio(of("store"), of("habit")),
      target,
    });
    report({
      operation: "get, tenant-bound",
      callers,
      store: rate(of("tenant")),
      against: "get, service level",
      other: rate(of("store")),
      ratio: ratio(of("tenant"), of("store")),
      target: 0.75,
    });
    report({
      operation: "get, service level",
      callers,
      store: rate(of("store")),
      against: "raw prepared statement",
      other: rate(of("raw")),
      ratio: ratio(of("store"), of("raw")),
      target: callers === 16 ? 1.2 : null,
    });
  }
}

async function sets(store: Store, habit: Habit, report: (row: Row) => void): Promise<void> {
  const pairs = Array.from({ length: 20_000 }, (_, i) => [plainKey(i), value(i)] as const);
  for (let at = 0; at < pairs.length; at += 1_000) {
    await store.mset(pairs.slice(at, at + 1_000));
    await habit.msetInOneStatement(pairs.slice(at, at + 1_000));
  }
  for (const [callers, target] of [[1, 0.8], [16, 2], [64, 3]] as const) {
    const of = byName(
      await interleave([
        { name: "store", run: (i) => store.set(plainKey(i * 7919), value(i)) },
        { name: "habit", run: (i) => habit.set(plainKey(i * 7919), value(i)) },
      ], { callers, operations: callers === 1 ? 300 : 2_000, rounds: 7 }),
    );
    report({
      operation: "set, durable",
      callers,
      store: rate(of("store")),
      against: "habit",
      other: rate(of("habit")),
      ratio: ratio(of("store"), of("habit")),
      target,
      note: PLAIN_KEYS,
    });
  }
}

/** Medians of single calls, measured in the server on one connection with alternating calls. */
async function timeInDatabase(appUrl: string, report: (row: Row) => void): Promise<void> {
  const rounds = await withClient(appUrl, async (client) => {
    await client.query(SET_TIMES);
    const medians: SetTimes[] = [];
    for (let round = -1; round < 9; round++) {
      const { rows } = await client.query<SetTimes>("select * from pg_temp.set_times($1)", [
        (round + 1) * 500,
      ]);
      if (round >= 0 && rows[0]) medians.push(rows[0]);
    }
    return medians.sort((a, b) => a.ours / a.raw - b.ours / b.raw);
  });
  const middle = rounds[rounds.length >> 1];
  for (
    const [name, against, target] of [["raw", "raw upsert, its plan kept", 2], ["planned", "raw upsert, planned each time", null]] as const
  ) {
    const [ours, raw] = [middle?.ours ?? Number.NaN, middle?.[name] ?? Number.NaN];
    report({
      operation: "set, its time in the database",
      callers: 1,
      store: ms(ours),
      against,
      other: ms(raw),
      ratio: ours / raw,
      target,
      atMost: true,
      note: "`kv_write_many` with one set against an upsert into the habit's table, both of an existing row and called in a function: " +
        "both include parsing the JSON, and neither the commit nor the network",
    });
  }
}

interface SetTimes {
  readonly ours: number;
  readonly raw: number;
  /** As the habit sends it: an unnamed query, which is parsed and planned each time. */
  readonly planned: number;
}

const SET_TIMES = `
  create function pg_temp.set_times(p_from integer, out ours float8, out raw float8, out planned float8) language plpgsql as $$
  declare
    v_key text;
    v_value text := '{"id": "tn_0000001", "name": "Hotel 1", "note": "${"x".repeat(200)}", "current": 1}';
    v_call text;
    v_started timestamptz;
    v_ours float8[] := '{}';
    v_raw float8[] := '{}';
    v_planned float8[] := '{}';
  begin
    for i in p_from .. p_from + 499 loop
      v_key := 'subdomain:b' || i;
      v_call := json_build_array(json_build_object('op', 'set', 'key', v_key, 'value', v_value::json));
      v_started := clock_timestamp();
      perform public.kv_write_many(v_call::jsonb, now());
      v_ours := v_ours || extract(epoch from clock_timestamp() - v_started)::float8 * 1000;
      v_started := clock_timestamp();
      insert into public.kv_store (key, value) values (v_key, v_value::jsonb) on conflict (key) do update set value = excluded.value;
      v_raw := v_raw || extract(epoch from clock_timestamp() - v_started)::float8 * 1000;
      v_started := clock_timestamp();
      execute 'insert into public.kv_store (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value'
        using v_key, v_value::jsonb;
      v_planned := v_planned || extract(epoch from clock_timestamp() - v_started)::float8 * 1000;
    end loop;
    ours := (select percentile_cont(0.5) within group (order by t) from unnest(v_ours) t);
    raw := (select percentile_cont(0.5) within group (order by t) from unnest(v_raw) t);
    planned := (select percentile_cont(0.5) within group (order by t) from unnest(v_planned) t);
  end $$`;

async function increments(store: Store, habit: Habit, report: (row: Row) => void): Promise<void> {
  const add = (key: string) => store.increment(key, [{ path: ["current"], by: 1 }], { initial: { value: { current: 0 } } });
  for (const [callers, target] of [[16, 12], [64, 50]] as const) {
    const hot = `usage:tn_0000001:api_calls:2027-${callers === 16 ? "01" : "02"}`;
    const of = byName(
      await interleave([
        { name: "store", run: () => add(hot) },
        { name: "habit", run: () => habit.increment(hot) },
      ], { callers, operations: { store: 8_000, habit: 1_000 }, rounds: 7 }),
    );
    const sum = await current(store, hot);
    const lost = (await habit.get(hot))?.["current"];
    if (sum !== 8 * 8_000) throw new Error(`the store counted ${sum} of ${8 * 8_000}`);
    report({
      operation: "increment of one hot key",
      callers,
      store: rate(of("store")),
      against: "habit",
      other: rate(of("habit")),
      ratio: ratio(of("store"), of("habit")),
      target,
      note: `${callers} callers: none of ${(8 * 8_000).toLocaleString("en-US")} lost; the habit kept ${lost} of ${8 * 1_000}`,
    });
    report({
      operation: "increment of one hot key, p99 in ms",
      callers,
      store: ms(of("store")?.p99Ms ?? Number.NaN),
      against: "–",
      other: "",
      ratio: of("store")?.p99Ms ?? Number.NaN,
      target: 5,
      atMost: true,
    });
  }
  const spread = (i: number) => `usage:${tenantId(i % 1_000)}:bookings:2027-03`;
  const of = byName(
    await interleave([
      { name: "store", run: (i) => add(spread(i)) },
      { name: "habit", run: (i) => habit.increment(spread(i)) },
    ], { callers: 16, operations: { store: 4_000, habit: 1_000 }, rounds: 7 }),
  );
  let sum = 0;
  for (let i = 0; i < 1_000; i++) sum += await current(store, spread(i));
  if (sum !== 8 * 4_000) throw new Error(`the store counted ${sum} of ${8 * 4_000} over 1,000 keys`);
  report({
    operation: "increments over 1,000 keys",
    callers: 16,
    store: rate(of("store")),
    against: "habit",
    other: rate(of("habit")),
    ratio: ratio(of("store"), of("habit")),
    target: 3,
    note: `none of ${(8 * 4_000).toLocaleString("en-US")} lost`,
  });
}

async function current(store: Store, key: string): Promise<number> {
  return ((await store.get(key))?.value as { readonly current: number } | undefined)?.current ?? 0;
}

async function batches(store: Store, habit: Habit, report: (row: Row) => void): Promise<void> {
  const keys = (i: number) => Array.from({ length: 100 }, (_, k) => `tenant:${tenantId(i * 100 + k)}`);
  const gets = byName(
    await interleave([
      { name: "store", run: (i) => store.mget(keys(i)) },
      { name: "in", run: (i) => habit.mget(keys(i)) },
      { name: "singly", run: (i) => Promise.all(keys(i).map((key) => habit.get(key))) },
    ], { callers: 1, operations: 100, rounds: 7 }),
  );
  for (
    const [name, against, target] of [["in", "habit, one unordered `in`", 1.2], [
      "singly",
      "habit, one get a key, 16 at a time",
      5,
    ]] as const
  ) {
    report({
      operation: "mget 100",
      callers: 1,
      store: rate(gets("store")),
      against,
      other: rate(gets(name)),
      ratio: ratio(gets("store"), gets(name)),
      target,
    });
  }
  const pairs = (i: number) => Array.from({ length: 100 }, (_, k) => [plainKey(i * 100 + k), value(k)] as const);
  const sets = byName(
    await interleave([
      { name: "store", run: (i) => store.mset(pairs(i)) },
      { name: "one", run: (i) => habit.msetInOneStatement(pairs(i)) },
      { name: "singly", run: (i) => habit.mset(pairs(i)) },
    ], { callers: 1, operations: 20, rounds: 7 }),
  );
  for (const [name, against, target] of [["one", "habit, one upsert", 0.8], ["singly", "habit, one set after the other", 9]] as const) {
    report({
      operation: "mset 100",
      callers: 1,
      store: rate(sets("store")),
      against,
      other: rate(sets(name)),
      ratio: ratio(sets("store"), sets(name)),
      target,
      note: PLAIN_KEYS,
    });
  }
}
