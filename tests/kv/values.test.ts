import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tenant } from "../../shared/features/tenants/entity.ts";
import type { JsonObject, JsonValue } from "../../shared/kernel/json.ts";
import { invoice } from "../../shared/features/invoices/entity.ts";
import type { Addition, Mutation } from "../../shared/kv/store.ts";
import { SQL_FUNCTIONS } from "../../shared/kv/driver.ts";
import type { SqlFunctionName } from "../../shared/kv/driver.ts";
import { withClient } from "../support/client.ts";
import { seededRandom } from "../support/random.ts";
import { codeOf, freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";
import { tenantRecord } from "./contract/samples.ts";

const KIB = 1024;
const MAX = Number.MAX_SAFE_INTEGER;
const add = [{ path: ["n"], by: 1 }];
let opened: OpenStore;
beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
});
afterAll(() => opened.close());

const append = (key: string, path: readonly string[], items: JsonValue[], cap?: number): Mutation => ({
  op: "append",
  key,
  path,
  items,
  ...(cap === undefined ? {} : { cap }),
});
const increment = (key: string, addition: Addition): Mutation => ({ op: "increment", key, add: [addition] });
const by = (path: readonly string[], amount: number) => ({ path, by: amount });
const deep = Array.from({ length: 33 }, (_, i) => `m${i}`);

/** A record, and an invalid change of it. */
const MANGLERS: readonly (readonly [string, JsonValue, (key: string) => Mutation])[] = [
  ["adding through a text", { a: "text" }, (key) => increment(key, by(["a", "n"], 1))],
  ["adding through a list", { a: [1, 2] }, (key) => increment(key, by(["a", "0"], 1))],
  ["adding through null", { a: null }, (key) => increment(key, by(["a", "n"], 1))],
  ["adding through a number", { a: { b: 5 } }, (key) => increment(key, by(["a", "b", "c"], 1))],
  ["adding to a list", { n: [1] }, (key) => increment(key, by(["n"], 1))],
  ["adding to a record that is a list", [1, 2], (key) => increment(key, by(["0"], 1))],
  ["adding to a record that is a number", 5, (key) => increment(key, by(["n"], 1))],
  ["setting a gauge over an object", { n: { a: 1 } }, (key) => increment(key, { path: ["n"], to: 1 })],
  ["merging into a record that is a list", [1, 2], (key) => ({ op: "increment", key, add: [], merge: { a: 1 } })],
  ["merging into a record that is a text", "text", (key) => ({ op: "increment", key, add: [], merge: { a: 1 } })],
  ["appending to a number", { n: 1 }, (key) => append(key, ["n"], [1])],
  ["appending to an object", { n: { a: 1 } }, (key) => append(key, ["n"], [1])],
  ["appending to null", { n: null }, (key) => append(key, ["n"], [1])],
  ["appending through a list", { a: [[1]] }, (key) => append(key, ["a", "0"], [1])],
  ["appending to a record that is a list", [1], (key) => append(key, ["0"], [1])],
  ["a path of 33 members", { n: 1 }, (key) => increment(key, by(deep, 1))],
  ["appending at a path of 33 members", { n: 1 }, (key) => append(key, deep, [1])],
  ["a sum of 2^53", { n: MAX }, (key) => increment(key, by(["n"], 1))],
  ["a sum of -2^53", { n: -MAX }, (key) => increment(key, by(["n"], -1))],
  ["a sum of more digits than a double", { n: 0.1 }, (key) => increment(key, by(["n"], MAX))],
  ["a fraction far below the number", { n: 1e15 }, (key) => increment(key, by(["n"], 1e-300))],
  ["a fraction one bit too precise", { n: 2251799813685249.5 }, (key) => increment(key, by(["n"], 0.25))],
  ["a cap of 0", { l: [1] }, (key) => append(key, ["l"], [1], 0)],
  ["a cap of -1", { l: [1] }, (key) => append(key, ["l"], [1], -1)],
  ["a cap of 1.5", { l: [1] }, (key) => append(key, ["l"], [1], 1.5)],
  ["a cap of NaN", { l: [1] }, (key) => append(key, ["l"], [1], Number.NaN)],
  ["adding NaN", { n: 1 }, (key) => increment(key, by(["n"], Number.NaN))],
  ["a bound of NaN", { n: 1 }, (key) => increment(key, { path: ["n"], by: 5, max: Number.NaN })],
  ["a gauge of Infinity", { n: 1 }, (key) => increment(key, { path: ["n"], to: Infinity })],
  ["items that are not a list", { l: [1] }, (key) => append(key, ["l"], "text" as unknown as JsonValue[])],
];

test.each(MANGLERS)("K06: %s is refused in a batch and in a commit, and the record is unchanged", async (name, value, mutate) => {
  const { store } = opened;
  const key = `mangle:${name.replaceAll(/[^a-z0-9.]/gi, "-")}`;
  await store.set(key, value);
  const mutation = mutate(key);
  const calls = [
    store.commit([], [mutation]),
    store.commit([{ key: "mangle:none", version: null }], [mutation, { op: "set", key: "mangle:beside", value: 1 }]),
    store.commit([], [{ ...mutation, key: `${key}:new`, initial: { value } } as Mutation]),
    ...(mutation.op === "increment" ? [store.increment(key, mutation.add, mutation.merge ? { merge: mutation.merge } : {})] : []),
  ];
  expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "validation_failed"));
  expect((await store.get(key))?.value).toEqual(value);
  expect(await store.mget([`${key}:new`, "mangle:beside"])).toEqual([null, null]);
});

test("K07: a path of 32 members is created, and a cap of 1 keeps only the last item", async () => {
  const { store } = opened;
  const path = deep.slice(0, 32);
  const entry = await store.increment("deep:n", [by(path, 2)], { initial: { value: {} } });
  expect(path.reduce<JsonValue | undefined>((value, member) => (value as JsonObject)[member], entry?.value)).toBe(2);
  await store.set("capped:l", { l: [1, 2, 3] });
  expect(await store.commit([], [append("capped:l", ["l"], [4, 5], 1)])).toMatchObject({ values: { "capped:l": { l: [5] } } });
  expect(await store.commit([], [append("capped:l", ["l"], [6, 7, 8], 3)])).toMatchObject({ values: { "capped:l": { l: [6, 7, 8] } } });
  expect(await store.commit([], [append("capped:l", ["l"], [9], 4)])).toMatchObject({ values: { "capped:l": { l: [6, 7, 8, 9] } } });
});

test("K06: a sum equal to its bound is accepted and one beyond is refused, in a batch and in a commit", async () => {
  const { store } = opened;
  await store.set("bounds:n", { n: 5, m: 5 });
  const to = (n: number, m: number) => [{ path: ["n"], by: n, min: 0, max: 10 }, { path: ["m"], to: m, min: -1.5, max: 9.25 }];
  expect((await store.increment("bounds:n", to(-5, -1.5)))?.value).toEqual({ n: 0, m: -1.5 });
  expect((await store.increment("bounds:n", to(10, 9.25)))?.value).toEqual({ n: 10, m: 9.25 });
  for (const add of [to(1, 0), to(-11, 0), to(0, -1.75), to(0, 9.5)]) {
    expect(await codeOf(store.increment("bounds:n", add))).toBe("write_conflict");
    const result = await store.commit([], [{ op: "increment", key: "bounds:n", add }]);
    expect(result).toEqual({ ok: false, conflict: "bounds:n", reason: "bounds" });
  }
  expect((await store.get("bounds:n"))?.value).toEqual({ n: 10, m: 9.25 });
});

/** The decimal sum of `base` and `amount`, or null if no double represents it. */
function exactly(base: number, amount: number): number | null {
  const scale = 400n;
  const scaled = (n: number): bigint => {
    const [mantissa = "", exponent = "0"] = n.toExponential().split("e");
    const [whole = "", fraction = ""] = mantissa.split(".");
    return BigInt(whole + fraction) * 10n ** (scale + BigInt(exponent) - BigInt(fraction.length));
  };
  const sum = scaled(base) + scaled(amount);
  const near = Number(`${sum}e-${scale}`);
  return scaled(near) === sum && (!Number.isInteger(near) || Number.isSafeInteger(near)) ? near : null;
}

/** The results in an order of the calls in which each is the previous one plus its amount; null if there is none. */
function inOrder(value: number, calls: readonly { readonly amount: number; readonly result: number | null }[]): number[] | null {
  if (calls.length === 0) return [value];
  for (const call of calls) {
    if (call.result === null || exactly(value, call.amount) !== call.result) continue;
    const rest = inOrder(call.result, calls.filter((other) => other !== call));
    if (rest) return [value, ...rest];
  }
  return null;
}

test.each([0.1, 2.1, -0.7, 1e15 + 0.5, 1e-7, 123456.789, 5e-324, -99.99, 2251799813685248.5, 0.30000000000000004])(
  "K06: merged calls on a base of %d each return exactly their own sum, or are refused as they would be alone",
  async (base) => {
    const { store } = opened;
    const random = seededRandom(`K06 base ${base}`);
    for (let round = 0; round < 12; round++) {
      const key = `base:${String(base).replace("+", "p")}:${round}`;
      await store.set(key, { n: base });
      const amounts = Array.from({ length: 12 }, () => random.pick([1, -1, 7, 1_000, -3, random.below(2 ** 31) - 2 ** 30, 2 ** 40]));
      const first = store.set("base:lane", round);
      const seen = await Promise.all(
        amounts.map((amount) => store.increment(key, [by(["n"], amount)]).then((entry) => (entry?.value as { n: number }).n, () => null)),
      );
      await first;
      const calls = amounts.map((amount, i) => ({ amount, result: seen[i] ?? null }));
      const order = inOrder(base, calls.filter(({ result }) => result !== null));
      expect(order, `seed ${random.seed}, round ${round}: ${JSON.stringify(calls)}`).not.toBeNull();
      // A refused call had a sum that no double represents.
      for (const { amount } of calls.filter(({ result }) => result === null)) {
        expect([amount, order?.some((value) => exactly(value, amount) === null)]).toEqual([amount, true]);
      }
      const value = order?.at(-1);
      expect((await store.get(key))?.value).toEqual({ n: value });
    }
  },
);

test("K06: merged sums near 2^53 are each exact or refused", async () => {
  const { store } = opened;
  const together = async (n: number, amounts: readonly number[]) => {
    await store.set("border:n", { n });
    const first = store.set("base:lane", n);
    const seen = await Promise.all(
      amounts.map((amount) =>
        store.increment("border:n", [by(["n"], amount)]).then((entry) => (entry?.value as { n: number }).n, codeOfError)
      ),
    );
    await first;
    return [...seen, ((await store.get("border:n"))?.value as { n: number }).n];
  };
  expect(await together(-MAX, [MAX, MAX - 1])).toEqual([0, MAX - 1, MAX - 1]);
  expect(await together(MAX, [5, -5])).toEqual(["validation_failed", MAX - 5, MAX - 5]);
  expect(await together(MAX - 3, [3, 1, -1])).toEqual([MAX, "validation_failed", MAX - 1, MAX - 1]);
});

const codeOfError = (error: unknown) => (error as { code: string }).code;

test("K06: merged calls each return the record after their own call, with the members they set", async () => {
  const { store } = opened;
  await store.set("own:record", { n: 0 });
  const first = store.set("base:lane", 0);
  const entries = await Promise.all([
    store.increment("own:record", [by(["a"], 1)], { merge: { by: "first" } }),
    store.increment("own:record", [by(["b"], 1)], { merge: { by: "second", more: 1 } }),
    store.increment("own:record", [by(["a"], 1), by(["n"], 5)]),
  ]);
  await first;
  expect(entries.map((entry) => entry?.value)).toEqual([
    { n: 0, a: 1, by: "first" },
    { n: 0, a: 1, b: 1, by: "second", more: 1 },
    { n: 5, a: 2, b: 1, by: "second", more: 1 },
  ]);
});

test("K01: a key of one segment works in every operation", async () => {
  const { store } = opened;
  const own = store.forTenant("tn_word");
  await store.mset([["word:a", 1], ["word-x:a", 2], ["wordy", 3]]);
  for (const expected of [1, 2, 3]) {
    expect((await store.increment("word", add, { initial: { value: { n: 0 } } }))?.value).toEqual({ n: expected });
  }
  expect(
    (await Promise.all(["word", "word:a", "word-x:a", "wordy", "none"].map((key) => store.get(key)))).map((entry) => entry?.value ?? null),
  )
    .toEqual([{ n: 3 }, 1, 2, 3, null]);
  expect((await store.mget(["wordy", "word-x:a", "word", "word"])).map((entry) => entry?.value)).toEqual([3, 2, { n: 3 }, { n: 3 }]);
  expect(await store.commit([{ key: "word", version: null }], [{ op: "set", key: "word", value: 0 }])).toMatchObject({ ok: false });
  await own.set("solo", 1);
  await own.set("solo", 2);
  expect((await own.mget(["solo", "word"])).map((entry) => entry?.value ?? null)).toEqual([2, null]);
  expect([await store.del("word"), await store.del("word"), await own.del("solo")]).toEqual([true, false, true]);
  expect(await store.mget(["word", "solo", "word:a"])).toEqual([null, null, expect.objectContaining({ value: 1 })]);
});

test("K21: the limit of a value applies to the bytes of its JSON and to the bytes of its stored text", async () => {
  const { store } = opened;
  const fits = async (value: JsonValue) => {
    const codes = await Promise.all(
      [store.set("bytes:set", value), store.commit([], [{ op: "set", key: "bytes:commit", value }])].map(codeOf),
    );
    expect(new Set(codes.map((code) => code.replace(/^no error.*/s, "stored"))).size).toBe(1);
    return codes[0]?.startsWith("no error") ?? false;
  };
  // The JSON of [""] has 4 bytes without the text.
  for (const [text, bytes] of [["a", 1], ["ü", 2], ["中", 3], ["😀", 4], ["\\", 2], ["\n", 2], ["\u0001", 6]] as const) {
    const room = Math.floor((256 * KIB - 4) / bytes);
    expect([text, await fits([text.repeat(room)]), await fits([text.repeat(room + 1)])]).toEqual([text, true, false]);
  }
  // 326 characters each as jsonb text, and their commas.
  expect(await fits(Array.from({ length: 800 }, () => 5e-324))).toBe(true);
  expect(await fits(Array.from({ length: 810 }, () => 5e-324))).toBe(false);
  expect(await fits(Array.from({ length: 131_000 }, () => 1))).toBe(true);
  expect(await fits(Array.from({ length: 131_073 }, () => 1))).toBe(false);
});

test("K21: the limit of 4 MiB per commit counts bytes, not characters", async () => {
  const { store } = opened;
  const sets = (count: number, text: string) =>
    Array.from({ length: count }, (_, i) => ({ op: "set", key: `bytes:many:${i}`, value: [text] }) as const);
  const wide = "ü".repeat(127 * KIB);
  expect(await codeOf(store.commit([], sets(17, wide)))).toBe("payload_too_large");
  expect(await store.count("bytes:many")).toBe(0);
  expect(await store.commit([], sets(16, wide))).toMatchObject({ ok: true });
});

test.each<readonly [string, string]>([
  ["17 digits", "0.12345678901234567 + i * 0.00000000000000001"],
  ["20 digits", "1.2345678901234567890 + i * 0.0000000000000000001"],
  ["whole numbers beyond 2^53", "9007199254740992 + i"],
  ["numbers beyond a double", "('1' || repeat('0', 400))::numeric + i"],
  ["numbers of 1,000 digits and more", "('1' || repeat('0', 1000))::numeric + i / 3.0"],
])("K13: cursors over %s return each record once, in both directions and with a filter", async (name, number) => {
  const { store, database } = opened;
  await withClient(database.superUrl, async (client) => {
    await client.query("delete from kv.entries where key like 'tenant:%'");
    await client.query(`
      insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
      select 'tenant:tn_n' || i, jsonb_build_object('id', 'tn_n' || i, 'status', 'active', 'mrr', ${number}), nextval('kv.versions'), 'tn_n' || i, true, now(), now()
      from generate_series(1, 9) i`);
  });
  for (const direction of ["asc", "desc"] as const) {
    for (const where of [[], [{ field: "status", in: ["active"] }]]) {
      for (const limit of [1, 2, 101]) {
        const ids: string[] = [];
        let cursor: string | null = null;
        do {
          const page: Awaited<ReturnType<typeof store.query>> = await store.query({
            entity: tenant,
            where,
            orderBy: [{ field: "mrr", direction }],
            limit,
            ...(cursor ? { cursor } : {}),
          });
          ids.push(...page.entries.map((entry) => entry.key.slice(-1)));
          cursor = page.cursor;
        } while (cursor && ids.length < 20);
        expect([name, ids.join("")]).toEqual([name, direction === "asc" ? "123456789" : "987654321"]);
      }
    }
  }
});

test("K26: 10,000 emoji in every indexed text field can be stored, filtered, sorted and searched", async () => {
  const { store } = opened;
  const text = "😀".repeat(10_000);
  for (const at of ["a", "b"]) {
    const fields = { name: text + at, subdomain: text, owner: text, region: text, plan: text, status: text };
    await store.set(`tenant:tn_emoji${at}`, tenantRecord(`tn_emoji${at}`, fields));
  }
  const found = await store.query({ entity: tenant, where: [{ field: "status", in: [text] }, { field: "plan", in: [text] }], limit: 5 });
  expect(found.entries).toHaveLength(2);
  expect((await store.query({ entity: tenant, where: [{ field: "status", in: ["😀".repeat(9_999)] }], limit: 5 })).entries).toEqual([]);
  const first = await store.query({
    entity: tenant,
    where: [{ field: "status", in: [text] }],
    orderBy: [{ field: "name", direction: "asc" }],
    limit: 1,
  });
  expect(first.entries.map((entry) => entry.key)).toEqual(["tenant:tn_emojia"]);
  expect((await store.query({ entity: tenant, search: "😀😀😀", limit: 5 })).entries).toHaveLength(2);
  await store.mdel(["tenant:tn_emojia", "tenant:tn_emojib"]);
});

test.each(["\u0000", "l:\u0000", "l:\ud800"])("K32: the list bound %j is refused as invalid, never an internal error", async (bound) => {
  const { store } = opened;
  for (const options of [{ start: bound }, { prefix: "l", end: bound }, { end: bound, reverse: true }]) {
    expect(await codeOf(store.list(options))).toMatch(/^(invalid_parameter|invalid_key|no error.*)$/);
  }
});

/** Calls an entry point as the application's login, on the given connection. */
async function callSql(client: pg.Client, name: SqlFunctionName, args: Readonly<Record<string, unknown>>): Promise<unknown> {
  const parameters = Object.entries(SQL_FUNCTIONS[name]);
  const all: Readonly<Record<string, unknown>> = { checks: [], lock_timeout_ms: 5_000, now: opened.clock.iso(), ...args };
  const values = parameters.map(([parameter, type]) => (type === "jsonb" ? JSON.stringify(all[parameter]) : all[parameter]));
  const text = `select public.${name}(${parameters.map(([, type], i) => `$${i + 1}::${type}`).join(", ")}) as value`;
  return (await client.query<{ value: unknown }>(text, values)).rows[0]?.value;
}

test.each(["platform", "settings", "stats", "resolve", "global"])(
  "K23: the reserved id %s is refused as a tenant of a row, for every writer",
  async (id) => {
    const { store, database } = opened;
    const usage = `usage:${id}:rooms:2026-03`;
    const codes = await withClient(database.appUrl, async (client) => {
      const attempts: readonly (readonly [SqlFunctionName, Record<string, unknown>])[] = [
        ["kv_commit", { mutations: [{ op: "set", key: "reserved:x", value: 1, owner: id }] }],
        ["kv_write_many", { calls: [{ op: "set", key: "reserved:x", value: 1, owner: id }] }],
        ["kv_tenant_commit", { tenant: id, mutations: [{ op: "set", key: "reserved:x", value: 1 }] }],
        ["kv_tenant_write_many", { calls: [{ op: "set", key: "reserved:x", value: 1, tenant: id }] }],
        ["kv_tenant_commit", { tenant: id, mutations: [{ op: "set", key: usage, value: { n: 1 } }] }],
      ];
      const seen: string[] = [];
      for (const [name, args] of attempts) {
        seen.push(await callSql(client, name, args).then(JSON.stringify, (error: unknown) => codeOfError(error)));
      }
      return seen;
    });
    for (const code of codes) expect(code).toContain("KV004");
    expect(await codeOf(store.set("reserved:x", 1, { tenantId: id }))).toBe("invalid_key");
    if (id !== "global") expect(await codeOf(store.set(usage, { n: 1 }))).toBe("key_owner_mismatch");
    const { rows } = await withClient(database.superUrl, (client) => client.query("select key from kv.entries where owner = $1", [id]));
    expect(rows).toEqual([]);
  },
);

test("K18: expired rows are in no count, list, page, total, group or report", async () => {
  const { store, clock } = opened;
  const own = store.forTenant("tn_old");
  const write = async (expiresAt: string | null) => {
    await store.set("invoice:tn_old:1", { tenantId: "tn_old", status: "issued", total: 1 }, { expiresAt });
    await store.set("invoice:tn_oldest:1", { tenantId: "tn_oldest", status: "issued", total: 1 }, { expiresAt });
    for (const i of [1, 2, 3]) await own.set(`old:${i}`, i, i === 1 ? {} : { expiresAt });
  };
  await write(clock.iso(1_000));
  clock.advance(1_000);
  for (const side of [store, own]) {
    expect([await side.count("old"), await side.count("invoice"), await side.count({ entity: invoice })]).toEqual([1, 0, 0]);
    expect(await side.query({ entity: invoice, limit: 5, withTotal: true })).toEqual({ entries: [], cursor: null, total: 0 });
    const where = [{ field: "status", in: ["issued"] }];
    const orderBy = [{ field: "dueDate", direction: "asc" }] as const;
    expect((await side.query({ entity: invoice, where, orderBy, limit: 5 })).entries).toEqual([]);
    expect(await side.aggregate({ entity: invoice, groupBy: ["status"] })).toEqual([]);
    expect((await side.list({ prefix: "old", reverse: true })).entries.map((entry) => entry.value)).toEqual([1]);
    expect((await side.mget(["old:1", "old:2", "invoice:tn_old:1"])).map((entry) => entry?.value ?? null)).toEqual([1, null, null]);
  }
  expect(await store.mdel(["old:2", "invoice:tn_oldest:1"])).toBe(0);
  await write(clock.iso(1_000));
  clock.advance(1_000);
  expect(await own.commit([], [{ op: "deletePrefix", prefix: "old" }])).toMatchObject({ deleted: { old: 1 } });
  await write(clock.iso(1_000));
  clock.advance(1_000);
  expect(await store.commit([], [{ op: "deleteOwner", tenantId: "tn_old" }])).toMatchObject({ ok: true, deleted: { old: 1 } });
});
