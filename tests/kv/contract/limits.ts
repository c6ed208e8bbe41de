import { expect, test } from "vitest";
import type { JsonValue } from "../../../shared/kernel/json.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import { LIMITS } from "../../../shared/kv/store.ts";
import { codeOf } from "../../support/store.ts";
import type { Theme } from "./index.ts";

const KIB = 1024;
/** A key of exactly `bytes` bytes, in segments of at most 128. */
function keyOfBytes(bytes: number): string {
  const key = `${"k".repeat(127)}:`.repeat(Math.ceil(bytes / 128)).slice(0, bytes);
  return key.endsWith(":") ? `${key.slice(0, -1)}k` : key;
}
/** A string whose JSON has exactly `bytes` bytes. */
const textOfBytes = (bytes: number) => "v".repeat(bytes - 2);

const UNSTORABLE: readonly (readonly [string, unknown, string])[] = [
  ["U+0000 in a string", { a: ["x", "nul\u0000"] }, "/a/1"],
  ["U+0000 in a name", { "nul\u0000": 1 }, "/nul\u0000"],
  ["a lone high surrogate", { deep: { er: "\ud83c" } }, "/deep/er"],
  ["a lone low surrogate", ["\udfe8"], "/0"],
  ["a lone surrogate in a name", { "\ud800": 1 }, "/\ud800"],
  ["NaN", { n: Number.NaN }, "/n"],
  ["Infinity", { n: Number.POSITIVE_INFINITY }, "/n"],
  ["an integer above 2^53", { list: [1, 2 ** 53] }, "/list/1"],
  ["a huge number", { n: 1e308 }, "/n"],
  ["a name with a slash and a tilde", { "a/b~c": Number.NaN }, "/a~1b~0c"],
  ["a function", { f: () => 1 }, "/f"],
  ["a bigint", { b: 1n }, "/b"],
  ["a date", { at: new Date(0) }, "/at"],
  ["a map", { m: new Map() }, "/m"],
];

export const limitCases: Theme = (open) => {
  test("K21: a key of 512 bytes is stored, and one of 513 is refused", async () => {
    const { store } = open();
    await store.set(keyOfBytes(512), 1);
    expect((await store.get(keyOfBytes(512)))?.value).toBe(1);
    expect((await store.list({ prefix: "k".repeat(127) })).entries).toHaveLength(1);
    expect(await codeOf(store.set(keyOfBytes(513), 1))).toBe("invalid_key");
  });

  test("K21: a value of 256 KiB of UTF-8 is stored, and one byte more is refused", async () => {
    const { store } = open();
    await store.set("size:fits", textOfBytes(256 * KIB));
    expect((await store.get("size:fits"))?.value).toHaveLength(256 * KIB - 2);
    expect(await codeOf(store.set("size:over", textOfBytes(256 * KIB + 1)))).toBe("payload_too_large");
    expect(await codeOf(store.set("size:utf8", "ü".repeat(128 * KIB)))).toBe("payload_too_large");
    await store.set("size:utf8", "ü".repeat(128 * KIB - 1));
    expect(await store.count("size")).toBe(2);
  });

  test("K21: a record cannot grow over 256 KiB by increments, merges or appends", async () => {
    const { store } = open();
    const half = textOfBytes(130 * KIB);
    await store.set("grow:a", { text: half });
    const calls = [
      store.commit([], [{ op: "append", key: "grow:a", path: ["items"], items: [half] }]),
      store.increment("grow:a", [{ path: ["n"], by: 1 }], { merge: { more: half } }),
    ];
    expect(await Promise.all(calls.map(codeOf))).toEqual(["payload_too_large", "payload_too_large"]);
    expect((await store.get("grow:a"))?.value).toEqual({ text: half });
  });

  test("K21: a commit of 1,000 mutations is accepted, and one of 1,001 is refused as a whole", async () => {
    const { store } = open();
    const sets = (count: number) => Array.from({ length: count }, (_, i) => ({ op: "set", key: `wide:${i}`, value: i }) as const);
    expect(await codeOf(store.commit([], sets(1_001)))).toBe("payload_too_large");
    expect(await store.count("wide")).toBe(0);
    expect(await store.commit([], sets(LIMITS.mutationsPerCommit))).toMatchObject({ ok: true });
    expect(await store.count("wide")).toBe(1_000);
  });

  test("K21: a commit of more than 4 MiB is refused as a whole, and one just below is accepted", async () => {
    const { store } = open();
    const value = textOfBytes(255 * KIB);
    const sets = (count: number) => Array.from({ length: count }, (_, i) => ({ op: "set", key: `heavy:${i}`, value }) as const);
    expect(await codeOf(store.commit([], sets(17)))).toBe("payload_too_large");
    expect(await store.count("heavy")).toBe(0);
    expect(await store.commit([], sets(16))).toMatchObject({ ok: true });
    expect((await store.mget(sets(16).map(({ key }) => key))).every((entry) => entry?.value === value)).toBe(true);
  });

  test.each(UNSTORABLE)("K32: %s is refused with a pointer to it, in every kind of write", async (_, value, pointer) => {
    const { store } = open();
    const bad = value as JsonValue;
    const record = { value: bad as { [name: string]: JsonValue } };
    const add = [{ path: ["n"], by: 1 }];
    const calls: [string, Promise<unknown>][] = [
      [pointer, store.set("bad:set", bad)],
      [pointer, store.mset([["bad:fine", 1], ["bad:mset", bad]])],
      [`/initial/value${pointer}`, store.increment("bad:inc", add, { initial: record })],
      [`/merge${pointer}`, store.increment("bad:inc", add, { initial: { value: {} }, merge: record.value })],
      [`/items/0${pointer}`, store.commit([], [{ op: "append", key: "bad:app", path: ["x"], items: [bad], initial: { value: {} } }])],
    ];
    for (const [path, call] of calls) {
      const error: unknown = await call.catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(InnkeepError);
      expect(error).toMatchObject({ code: "validation_failed", fields: [{ path }] });
    }
    expect(await store.count("bad")).toBe(0);
  });

  test("K32: U+0000 and lone surrogates in paths, names of additions and conditions are refused, never a 500", async () => {
    const { store } = open();
    for (const bad of ["\u0000", "\ud800"]) {
      const calls = [
        store.increment("bad:path", [{ path: [bad], by: 1 }], { initial: { value: {} } }),
        store.commit([], [{ op: "append", key: "bad:path", path: ["a", bad], items: [1], initial: { value: {} } }]),
      ];
      expect(await Promise.all(calls.map(codeOf))).toEqual(["validation_failed", "validation_failed"]);
    }
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 1e300])("K32: adding %d is refused", async (by) => {
    expect(await codeOf(open().store.increment("bad:by", [{ path: ["n"], by }], { initial: { value: {} } }))).toBe("validation_failed");
    expect(await open().store.get("bad:by")).toBeNull();
  });

  test("K32: an empty path, and a value nested deeper than 64 levels, are refused", async () => {
    const { store } = open();
    let deep: JsonValue = 1;
    for (let i = 0; i < 70; i++) deep = [deep];
    const calls = [
      store.increment("bad:empty", [{ path: [], by: 1 }], { initial: { value: {} } }),
      store.commit([], [{ op: "append", key: "bad:empty", path: [], items: [1], initial: { value: {} } }]),
      store.set("bad:deep", deep),
    ];
    expect(await Promise.all(calls.map(codeOf))).toEqual(["validation_failed", "validation_failed", "validation_failed"]);
  });

  test("K32: undefined members are omitted, as by JSON.stringify", async () => {
    const { store } = open();
    await store.set("odd:undefined", { a: undefined, b: 1 } as unknown as JsonValue);
    expect((await store.get("odd:undefined"))?.value).toEqual({ b: 1 });
  });

  test.each(["", "abc", "-1", "1.5", "99999999999999999999", "1e3", "1; drop table kv.entries"])(
    "K03: the version %j is a conflict or refused as invalid, never a 500",
    async (version) => {
      const { store } = open();
      await store.set("odd:version", 1);
      const outcome = await store.commit([{ key: "odd:version", version }], []).then(
        (result) => (result.ok ? "passed" : "conflict"),
        codeOfError,
      );
      expect(["conflict", "validation_failed"]).toContain(outcome);
    },
  );

  test("K05: a commit that changes a key twice is refused, except for set and delete, of which the last takes effect", async () => {
    const { store } = open();
    await store.commit([], [{ op: "set", key: "twice:a", value: 1 }, { op: "set", key: "twice:a", value: 2 }]);
    expect((await store.get("twice:a"))?.value).toBe(2);
    await store.commit([], [{ op: "set", key: "twice:a", value: 3 }, { op: "delete", key: "twice:a" }]);
    expect(await store.get("twice:a")).toBeNull();
    const add = { op: "increment", key: "twice:b", add: [{ path: ["n"], by: 1 }], initial: { value: {} } } as const;
    expect(await codeOf(store.commit([], [add, add]))).toBe("validation_failed");
    expect(await codeOf(store.commit([], [{ op: "set", key: "twice:b", value: {} }, add]))).toBe("validation_failed");
    expect(await store.get("twice:b")).toBeNull();
  });
};

const codeOfError = (error: unknown) => (error instanceof InnkeepError ? error.code : String(error));
