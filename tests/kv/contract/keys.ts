import { expect, test } from "vitest";
import type { JsonValue } from "../../../shared/kernel/json.ts";
import { codeOf } from "../../support/store.ts";
import type { Theme } from "./index.ts";

const VALUES: Readonly<Record<string, JsonValue>> = {
  nested: { a: { b: [1, [2, { c: null }]], d: "x" }, e: [] },
  unicode: { "ключ": "Zürich – 東京 🏨\u2028", "": "the empty name" },
  empty: {},
  text: "plain",
  zero: 0,
  no: false,
  list: [1, "two", null],
  numbers: [0.1, -1.5, 1e-7, 5e-324, 9007199254740991, -9007199254740991, 123456.789],
  quotes: { "it's": '"quoted" \\ back\\slash \n\t %s $1 ${x}' },
  prototype: JSON.parse('{"__proto__": 1, "constructor": {"prototype": 2}}') as JsonValue,
};

const BAD_KEYS = [
  "",
  ":",
  "a:",
  ":a",
  "a::b",
  "a b",
  "a/b",
  "a%b",
  "a\\b",
  "ä",
  "a:b\u0000",
  "🏨",
  "a:*",
  "a".repeat(129),
  `${"a:".repeat(256)}a`,
  "audit:2026-02-31T00:00:00.000Z:x",
  "a\n",
  'a:"',
  "a:{b}",
  ".",
  "a:.",
  "..:a",
  "a:..:b",
];

export const keyCases: Theme = (open) => {
  test("K01: get of a missing key returns null", async () => {
    expect(await open().store.get("thing:absent")).toBeNull();
  });

  test.each(Object.entries(VALUES))("K01: set and get preserve the value %s", async (name, value) => {
    const { store } = open();
    const version = await store.set(`thing:value:${name}`, value);
    expect(await store.get(`thing:value:${name}`)).toMatchObject({ key: `thing:value:${name}`, version });
    expect(JSON.stringify((await store.get(`thing:value:${name}`))?.value)).toHaveLength(JSON.stringify(value).length);
    expect((await store.get(`thing:value:${name}`))?.value).toEqual(value);
  });

  test.each(["constructor", "toString", "valueOf", "hasOwnProperty", "__proto__"])(
    "K01: a key may be %s, a member of every object",
    async (key) => {
      const { store } = open();
      await store.set(key, { n: 1 });
      expect((await store.increment(key, [{ path: ["n"], by: 1 }]))?.value).toEqual({ n: 2 });
      expect(await store.get(key)).toMatchObject({ key, value: { n: 2 } });
      await store.commit([], [{ op: "delete", key }]);
      expect(await store.mget([key])).toEqual([null]);
    },
  );

  test("K01: null is refused as a value", async () => {
    expect(await codeOf(open().store.set("thing:null", null))).toBe("validation_failed");
    expect(await open().store.get("thing:null")).toBeNull();
  });

  test("K01: an entry has its version, times of the caller's clock, expiry and tenant", async () => {
    const { store, clock } = open();
    const createdAt = clock.iso();
    const version = await store.set("thing:entry", { n: 1 });
    clock.advance(1_234);
    expect(await store.get("thing:entry")).toEqual({
      key: "thing:entry",
      value: { n: 1 },
      version,
      createdAt,
      updatedAt: createdAt,
      expiresAt: null,
      tenantId: null,
    });
    const second = await store.set("thing:entry", { n: 2 }, { expiresAt: clock.iso(60_000), tenantId: "tn_keys" });
    expect(await store.get("thing:entry")).toEqual({
      key: "thing:entry",
      value: { n: 2 },
      version: second,
      createdAt,
      updatedAt: clock.iso(),
      expiresAt: clock.iso(60_000),
      tenantId: "tn_keys",
    });
  });

  test("K08: mget keeps the order of its keys, with null for missing ones and an entry for each duplicate", async () => {
    const { store } = open();
    await store.mset([["thing:m:a", 1], ["thing:m:b", 2], ["thing:m:c", 3]]);
    const keys = ["thing:m:c", "thing:m:none", "thing:m:a", "thing:m:c", "thing:m:b"];
    const entries = await store.mget(keys);
    expect(entries.map((entry) => entry?.value ?? null)).toEqual([3, null, 1, 3, 2]);
    expect(entries.map((entry) => entry?.key ?? null)).toEqual(["thing:m:c", null, "thing:m:a", "thing:m:c", "thing:m:b"]);
    expect(await store.mget([])).toEqual([]);
  });

  test("K08: mget of 2,500 keys, more than PostgREST's row limit, returns every entry", async () => {
    const { store } = open();
    const keys = Array.from({ length: 2_500 }, (_, i) => `thing:many:${i}`);
    for (let at = 0; at < keys.length; at += 1_000) await store.mset(keys.slice(at, at + 1_000).map((key) => [key, key]));
    expect((await store.mget(keys)).map((entry) => entry?.value)).toEqual(keys);
  });

  test("K10: a prefix ends at a segment boundary: tn_1 never includes tn_12 or tnX1", async () => {
    const { store } = open();
    const under = (tenant: string) => `usage:${tenant}:api_calls:2026-01`;
    const tenants = ["tn_1", "tn_10", "tn_12", "tnX1", "tn_1~", "tn_1.", "tn_1-a", "tn_", "TN_1"];
    for (const tenant of tenants) await store.set(under(tenant), { current: 1 });
    for (const prefix of ["usage:tn_1", "usage:tn_1:"]) {
      expect((await store.list({ prefix })).entries.map((entry) => entry.key)).toEqual([under("tn_1")]);
      expect(await store.count(prefix)).toBe(1);
      expect(await store.getByPrefix(prefix)).toEqual([{ current: 1 }]);
    }
    await store.commit([], [{ op: "deletePrefix", prefix: "usage:tn_1" }]);
    expect(await store.count("usage")).toBe(tenants.length - 1);
  });

  test("K10: a family is not a prefix of another family, and a key is not under itself", async () => {
    const { store } = open();
    await store.mset([["word", 0], ["word:a", 1], ["wordkey:a", 2], ["word-x:a", 3], ["word.x:a", 4]]);
    expect(await store.getByPrefix("word")).toEqual([1]);
    expect(await store.get("word")).toMatchObject({ value: 0 });
  });

  test("K16: keys are in byte order in any locale of the database", async () => {
    const { store } = open();
    const segments = ["a", "B", "b", "A", "_", "~", "-", "+", "@", "...", "0", "10", "9", "aa", "a-", "a_", "a.b", "Z", "z"];
    await store.mset(segments.map((segment) => [`order:${segment}`, segment]));
    const expected = [...segments].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(await store.getByPrefix("order")).toEqual(expected);
    const reversed = await store.list({ prefix: "order", reverse: true });
    expect(reversed.entries.map((entry) => entry.value)).toEqual(expected.toReversed());
  });

  test("K10: a timestamp is one segment: no prefix below the scope contains audit keys of a tenant and of the platform", async () => {
    const { store } = open();
    const at = "2026-01-01T00:00:00.000Z";
    await store.mset([[`log:${at}:x`, "platform"], [`log:tn_1:${at}:x`, "tenant"]]);
    expect(await store.getByPrefix(`log:${at}`)).toEqual(["platform"]);
    expect(await store.getByPrefix("log:tn_1")).toEqual(["tenant"]);
    expect(await store.get(`log:tn_1:${at}:x`)).toMatchObject({ value: "tenant" });
  });

  test.each(BAD_KEYS)("K22: the key %j is refused by every operation before it reaches the database", async (key) => {
    const { store } = open();
    const calls = [
      store.get(key),
      store.mget(["thing:fine", key]),
      store.set(key, 1),
      store.mset([["thing:never", 1], [key, 1]]),
      store.del(key),
      store.mdel([key]),
      store.increment(key, [{ path: ["n"], by: 1 }], { initial: { value: {} } }),
      store.commit([{ key, version: null }], []),
    ];
    expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "invalid_key"));
    expect(await store.get("thing:never")).toBeNull();
  });

  test.each(["a b", "a::", ":", "ä", "a%", "x".repeat(200)])("K22: the prefix %j is refused", async (prefix) => {
    const { store } = open();
    const calls = [
      store.list({ prefix }),
      store.getByPrefix(prefix),
      store.count(prefix),
      store.commit([], [{ op: "deletePrefix", prefix }]),
    ];
    expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "invalid_key"));
  });

  test.each(["global", "platform", "settings", "tn:1", "", "a b"])("K23: %j is refused as a tenant id", async (tenantId) => {
    expect(await codeOf(() => open().store.forTenant(tenantId).get("thing:x"))).toBe("invalid_key");
    expect(await codeOf(open().store.commit([], [{ op: "deleteOwner", tenantId }]))).toBe("invalid_key");
  });
};
