import { expect, test } from "vitest";
import { plan as planEntity } from "../../../shared/features/plans/entity.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { CommitResult, Store } from "../../../shared/kv/store.ts";
import { codeOf } from "../../support/store.ts";
import type { Theme } from "./index.ts";

/** The versions of a commit that must succeed. */
async function versionsOf(commit: Promise<CommitResult>): Promise<Readonly<Record<string, string>>> {
  const result = await commit;
  if (!result.ok) throw new Error(`conflict on ${result.conflict}`);
  return result.versions;
}

const isRising = (versions: readonly bigint[]) => versions.every((version, i) => i === 0 || version > (versions[i - 1] ?? 0n));

export const commitCases: Theme = (open, serverCase) => {
  test("K02: the versions of 1,000 concurrent commits are all distinct decimal strings", async () => {
    const { store, another } = open();
    const stores = [store, another(), another(), another()];
    const versions =
      (await Promise.all(stores.map((own, s) => Promise.all(Array.from({ length: 250 }, (_, i) => own.set(`version:${i % 50}`, s))))))
        .flat();
    expect(new Set(versions).size).toBe(1_000);
    for (const version of versions) expect(version).toMatch(/^[1-9]\d*$/);
  });

  serverCase("K02: the version of a key strictly increases for eight concurrent writers and a reader", async () => {
    const { store, racers } = open();
    const writers = await racers(8);
    let writing = true;
    const seen: bigint[] = [];
    const reader = (async () => {
      while (writing) seen.push(BigInt((await store.get("version:hot"))?.version ?? 0));
    })();
    const written = await Promise.all(writers.map(async (writer, w) => {
      const own: bigint[] = [];
      for (let i = 0; i < 60; i++) own.push(BigInt(await writer.set("version:hot", { w, i })));
      return own;
    }));
    writing = false;
    await reader;
    for (const own of written) expect(isRising(own)).toBe(true);
    expect(seen.every((version, i) => version >= (seen[i - 1] ?? 0n))).toBe(true);
    expect(BigInt((await store.get("version:hot"))?.version ?? 0)).toBe(written.flat().reduce((a, b) => (a > b ? a : b)));
  });

  test("K02: a key that is deleted and created again has a greater version", async () => {
    const { store } = open();
    const first = await store.set("version:again", 1);
    await store.del("version:again");
    expect(BigInt(await store.set("version:again", 2))).toBeGreaterThan(BigInt(first));
  });

  test("K02: a commit returns the version of every key it wrote, equal to that of a later read", async () => {
    const { store } = open();
    const versions = await versionsOf(store.commit([], [
      { op: "set", key: "answer:a", value: 1 },
      { op: "increment", key: "answer:b", add: [{ path: ["n"], by: 2 }], initial: { value: {} } },
      { op: "append", key: "answer:c", path: ["items"], items: ["x"], initial: { value: {} } },
      { op: "delete", key: "answer:none" },
    ]));
    const entries = await store.mget(["answer:a", "answer:b", "answer:c"]);
    expect(Object.keys(versions).sort()).toEqual(["answer:a", "answer:b", "answer:c"]);
    for (const entry of entries) expect(entry?.version).toBe(versions[entry?.key ?? ""]);
  });

  test("K02: all rows that one commit writes have the same version", async () => {
    const { store } = open();
    for (const own of [store, store.forTenant("tn_one")]) {
      const at = (name: string) => `one:${own.tenantId ?? "platform"}-${name}`;
      await own.set(at("old"), 1);
      await own.set(at("counter"), { n: 1 });
      const versions = await versionsOf(own.commit([], [
        { op: "set", key: at("old"), value: 2 },
        { op: "set", key: at("new"), value: 2 },
        { op: "increment", key: at("counter"), add: [{ path: ["n"], by: 2 }] },
      ]));
      expect(Object.keys(versions)).toHaveLength(3);
      expect(new Set(Object.values(versions)).size).toBe(1);
    }
    const blind = await versionsOf(store.commit([], ["one:x", "one:y", "one:z"].map((key) => ({ op: "set", key, value: 1 }))));
    expect(new Set(Object.values(blind)).size).toBe(1);
  });

  serverCase("K02: the version of a key strictly increases over concurrent commits, single writes and deletions", async () => {
    const { store, racers } = open();
    const [commits, others, singles, counters, deletes] = await racers(5) as [Store, Store, Store, Store, Store];
    const [a, b] = ["rise:a", "rise:b"];
    let writing = true;
    const seen = new Map<string, bigint[]>([[a, []], [b, []]]);
    const reader = (async () => {
      while (writing) {
        for (const entry of await store.mget([a, b])) if (entry) seen.get(entry.key)?.push(BigInt(entry.version.split(".")[0] ?? "0"));
      }
    })();
    const rounds = Array.from({ length: 60 }, (_, i) => i);
    const both = async (own: Store) => {
      for (const n of rounds) await versionsOf(own.commit([], [{ op: "set", key: a, value: { n } }, { op: "set", key: b, value: { n } }]));
    };
    const add = [{ path: ["n"], by: 1 }];
    await Promise.all([
      both(commits),
      both(others),
      (async () => {
        for (const n of rounds) await singles.set(a, { n });
      })(),
      (async () => {
        for (const _ of rounds) await counters.increment(b, add, { initial: { value: { n: 0 } } });
      })(),
      (async () => {
        for (const n of rounds) await (n % 2 === 0 ? deletes.del(a) : deletes.commit([], [{ op: "deletePrefix", prefix: "rise" }]));
      })(),
    ]);
    writing = false;
    await reader;
    for (const versions of seen.values()) {
      expect(versions.length).toBeGreaterThan(10);
      expect(versions.every((version, i) => version >= (versions[i - 1] ?? 0n))).toBe(true);
    }
  });

  test("H03: a value with a receipt is stored with the records of increments that ask for it, and the deletion counts", async () => {
    const { store } = open();
    for (const own of [store, store.forTenant("tn_receipt")]) {
      const at = (name: string) => `receipt:${own.tenantId ?? "platform"}-${name}`;
      await own.set(at("gone"), 1);
      const result = await own.commit([{ key: at("call"), version: null }], [
        { op: "set", key: at("call"), value: { said: "yes" }, receipt: true },
        { op: "set", key: at("plain"), value: { said: "no" } },
        { op: "increment", key: at("counter"), add: [{ path: ["n"], by: 2.5 }], initial: { value: { n: 1 } }, receipt: true },
        { op: "increment", key: at("other"), add: [{ path: ["n"], by: 1 }], initial: { value: {} } },
        { op: "delete", key: at("gone") },
        { op: "delete", key: at("never") },
      ]);
      if (!result.ok) throw new Error(`conflict on ${result.conflict}`);
      const { values, deleted, versions } = result;
      expect({ values, deleted }).toEqual({ values: { [at("counter")]: { n: 3.5 }, [at("other")]: { n: 1 } }, deleted: { receipt: 1 } });
      const [call, plain] = await own.mget([at("call"), at("plain")]);
      const receipt = { values: { [at("counter")]: { n: 3.5 } }, deleted };
      expect(call).toMatchObject({ value: { said: "yes" }, version: versions[at("call")] });
      expect(call?.value).toHaveProperty("receipt", receipt);
      expect(plain?.value).toEqual({ said: "no" });
    }
  });

  test("K03: a count check refuses the commit while more records match, and is for the service level only", async () => {
    const { store } = open();
    const plan = (id: string, limits: JsonObject) => store.set(`plan:${id}`, { ...planEntity.example, id, limits } as JsonObject);
    const check = (has: string, atMost: number) => ({
      key: "plan:~checked",
      entity: planEntity,
      where: [{ field: "limits", has }],
      atMost,
    });
    const mark = { op: "set", key: "check:count", value: 1 } as const;
    await plan("one", { rooms: 1, users: 1 });
    await plan("two", { rooms: null });
    expect(await store.commit([check("rooms", 1)], [mark])).toEqual({ ok: false, conflict: "plan:~checked", reason: "version" });
    expect(await store.get("check:count")).toBeNull();
    expect((await store.commit([check("rooms", 2), check("users", 1), check("beds", 0)], [mark])).ok).toBe(true);
    expect(await store.count({ entity: planEntity, where: [{ field: "limits", has: "users" }] })).toBe(1);
    expect((await store.query({ entity: planEntity, where: [{ field: "limits", has: "rooms" }], limit: 5 })).entries).toHaveLength(2);
    expect(await codeOf(store.count({ entity: planEntity, where: [{ field: "nothing", has: "x" }] }))).toBe("invalid_parameter");
    expect(await codeOf(store.forTenant("tn_check").commit([check("rooms", 2)], []))).toBe("forbidden");
    for (const atMost of [NaN, Infinity, 1.5, -1, 2 ** 53]) {
      expect(await codeOf(store.commit([check("rooms", atMost)], [mark]))).toBe("validation_failed");
    }
  });

  test("K03: a check on an outdated version refuses the whole commit and returns the key", async () => {
    const { store } = open();
    const stale = await store.set("check:a", 1);
    await store.set("check:a", 2);
    const result = await store.commit([{ key: "check:a", version: stale }], [
      { op: "set", key: "check:a", value: 3 },
      { op: "set", key: "check:b", value: 3 },
      { op: "delete", key: "check:c" },
    ]);
    expect(result).toEqual({ ok: false, conflict: "check:a", reason: "version" });
    expect((await store.get("check:a"))?.value).toBe(2);
    expect(await store.get("check:b")).toBeNull();
  });

  test("K03: a check on the current version permits the commit, also on another key", async () => {
    const { store } = open();
    const version = await store.set("check:guard", 1);
    await versionsOf(store.commit([{ key: "check:guard", version }], [{ op: "set", key: "check:other", value: 1 }]));
    expect((await store.get("check:guard"))?.version).toBe(version);
    expect((await store.get("check:other"))?.value).toBe(1);
  });

  test("K03: a check of a version on an absent key, and a commit of checks only, return a result", async () => {
    const { store } = open();
    expect(await store.commit([{ key: "check:absent", version: "1" }], [])).toEqual({
      ok: false,
      conflict: "check:absent",
      reason: "version",
    });
    expect(await store.commit([{ key: "check:absent", version: null }], [])).toMatchObject({ ok: true, versions: {} });
  });

  test("K03: a commit of a hundred checks is refused by the one that fails", async () => {
    const { store } = open();
    const keys = Array.from({ length: 100 }, (_, i) => `checks:${i}`);
    const versions = await versionsOf(store.commit([], keys.map((key) => ({ op: "set", key, value: 0 }))));
    const checks = keys.map((key) => ({ key, version: versions[key] ?? "" }));
    expect(await store.commit(checks, [{ op: "set", key: "checks:0", value: 1 }])).toMatchObject({ ok: true });
    expect(await store.commit(checks, [{ op: "set", key: "checks:1", value: 1 }])).toEqual({
      ok: false,
      conflict: "checks:0",
      reason: "version",
    });
  });

  test("K04: check(key, null) creates when absent and conflicts when present", async () => {
    const { store } = open();
    const create = (value: number) => store.commit([{ key: "create:a", version: null }], [{ op: "set", key: "create:a", value }]);
    expect(await create(1)).toMatchObject({ ok: true });
    expect(await create(2)).toEqual({ ok: false, conflict: "create:a", reason: "version" });
    expect((await store.get("create:a"))?.value).toBe(1);
    await store.del("create:a");
    expect(await create(3)).toMatchObject({ ok: true });
  });

  test("K05: a commit with one refused mutation writes none of them", async () => {
    const { store } = open();
    await store.set("atomic:n", { n: 5 });
    const result = await store.commit([], [
      { op: "set", key: "atomic:a", value: 1 },
      { op: "increment", key: "atomic:n", add: [{ path: ["n"], by: 1, max: 5 }] },
      { op: "deletePrefix", prefix: "atomic" },
    ]);
    expect(result).toEqual({ ok: false, conflict: "atomic:n", reason: "bounds" });
    expect(await store.get("atomic:a")).toBeNull();
    expect((await store.get("atomic:n"))?.value).toEqual({ n: 5 });
  });

  test("K05: a commit whose last mutation is invalid writes none of them", async () => {
    const { store } = open();
    await store.set("atomic:text", { n: "five" });
    const code = await codeOf(store.commit([], [
      { op: "set", key: "atomic:b", value: 1 },
      { op: "increment", key: "atomic:text", add: [{ path: ["n"], by: 1 }] },
    ]));
    expect(code).toBe("validation_failed");
    expect(await store.get("atomic:b")).toBeNull();
  });

  test("K09: mset and mdel are one commit each and return counts", async () => {
    const { store } = open();
    const pairs = Array.from({ length: 1_000 }, (_, i) => [`many:${i}`, { i }] as const);
    expect(await store.mset(pairs)).toBe(1_000);
    expect(await store.count("many")).toBe(1_000);
    expect(await store.mdel(["many:0", "many:none", "many:1", "many:999"])).toBe(3);
    expect(await store.mdel(["many:0"])).toBe(0);
    expect(await store.count("many")).toBe(997);
    expect(await store.mset([])).toBe(0);
    expect(await store.mdel([])).toBe(0);
  });

  test("K09: 10,001 keys at once are refused with a typed error and nothing is written", async () => {
    const { store } = open();
    const keys = Array.from({ length: 10_001 }, (_, i) => `toomany:${i}`);
    expect(await codeOf(store.mset(keys.map((key) => [key, 1])))).toBe("payload_too_large");
    expect(await codeOf(store.mdel(keys))).toBe("payload_too_large");
    expect(await store.count("toomany")).toBe(0);
  });

  test("K09: del returns whether a live entry existed", async () => {
    const { store } = open();
    await store.set("gone:a", 1);
    expect([await store.del("gone:a"), await store.del("gone:a")]).toEqual([true, false]);
  });

  test("K03: deletions are counted by family, and deletePrefix deletes only entries under the prefix", async () => {
    const { store } = open();
    await store.mset([["room:a:1", 1], ["room:a:2", 1], ["room:ab:1", 1], ["room:a", 1], ["bed:1", 1]]);
    const result = await store.commit([], [
      { op: "deletePrefix", prefix: "room:a" },
      { op: "delete", key: "bed:1" },
      { op: "delete", key: "bed:none" },
    ]);
    expect(result).toMatchObject({ ok: true, deleted: { room: 2, bed: 1 } });
    expect(await store.mget(["room:a", "room:ab:1"])).toEqual([
      expect.objectContaining({ value: 1 }),
      expect.objectContaining({ value: 1 }),
    ]);
  });

  test("K03: writing the same value again gives a new version and keeps createdAt", async () => {
    const { store, clock } = open();
    const createdAt = clock.iso();
    const first = await store.set("same:a", { x: 1 });
    clock.advance(5);
    const second = await store.set("same:a", { x: 1 });
    expect(BigInt(second)).toBeGreaterThan(BigInt(first));
    expect(await store.get("same:a")).toMatchObject({ createdAt, updatedAt: clock.iso() });
  });

  test("K03: concurrent read-modify-write cycles with checks lose no update", async () => {
    const { store, racers } = open();
    await store.set("cas:n", 0);
    const addOne = async (writer: Store): Promise<void> => {
      const entry = await writer.get("cas:n");
      const check = { key: "cas:n", version: entry?.version ?? null };
      const result = await writer.commit([check], [{ op: "set", key: "cas:n", value: Number(entry?.value) + 1 }]);
      if (!result.ok) await addOne(writer);
    };
    const writers = await racers(6);
    await Promise.all(writers.map(async (writer) => {
      for (let i = 0; i < 10; i++) await addOne(writer);
    }));
    expect((await store.get("cas:n"))?.value).toBe(60);
  });
};
