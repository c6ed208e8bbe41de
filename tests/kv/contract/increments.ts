import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { withClient } from "../../support/client.ts";
import type { Theme } from "./index.ts";
import { codeOf } from "../../support/store.ts";

const one = [{ path: ["n"], by: 1 }];
const fromZero = { initial: { value: { n: 0 } } };

export const incrementCases: Theme = (open, serverCase) => {
  const hot = async (key: string) => {
    const { store, racers } = open();
    const clients = await racers(8);
    const seen = await Promise.all(clients.map(async (client) => {
      const own: number[] = [];
      for (let i = 0; i < 200; i++) own.push(((await client.increment(key, one, fromZero))?.value as { n: number }).n);
      return own;
    }));
    expect((await store.get(key))?.value).toEqual({ n: 1_600 });
    expect(new Set(seen.flat()).size).toBe(1_600);
  };
  for (const key of ["tally:hot", "usage:tn_hot:api_calls:2026-03"]) {
    serverCase(`K06: 8 clients x 200 increments of ${key} store exactly 1,600`, () => hot(key));
  }

  test("K06: concurrent increments through one store each get their own sum and version", async () => {
    const { store } = open();
    const entries = await Promise.all(Array.from({ length: 500 }, () => store.increment("tally:batch", one, fromZero)));
    const sums = entries.map((entry) => (entry?.value as { n: number }).n);
    expect([...sums].sort((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
    expect(Math.max(...sums)).toBe(((await store.get("tally:batch"))?.value as { n: number }).n);
    const ordered = entries.toSorted((a, b) => (a?.value as { n: number }).n - (b?.value as { n: number }).n).map((entry) =>
      Number(entry?.version ?? 0)
    );
    expect(ordered.every((version, i) => i === 0 || version > (ordered[i - 1] ?? 0))).toBe(true);
  });

  test("K06: of the versions of merged increments, only the last one passes a check", async () => {
    const { store } = open();
    for (const key of ["tally:together", "note:tn_tally:together"]) {
      const bound = key.startsWith("note") ? store.forTenant("tn_tally") : store;
      const entries = await Promise.all(Array.from({ length: 40 }, () => bound.increment(key, one, fromZero)));
      const last = await bound.get(key);
      for (const entry of entries) {
        const passes = (await bound.commit([{ key, version: entry?.version ?? "" }], [])).ok;
        expect(passes).toBe((entry?.value as { n: number }).n === 40);
      }
      expect(last?.version).toBe(entries.find((entry) => (entry?.value as { n: number }).n === 40)?.version);
    }
  });

  test("K06: increments of many keys with different amounts and shapes at once are all kept", async () => {
    const { store } = open();
    await Promise.all(
      Array.from(
        { length: 600 },
        (_, i) =>
          store.increment(`tally:spread:${i % 20}`, [{ path: ["total"], by: i }, { path: ["daily", `d${i % 3}`], by: 1 }], {
            initial: { value: {} },
          }),
      ),
    );
    const values = await store.getByPrefix("tally:spread") as { total: number; daily: Record<string, number> }[];
    expect(values.reduce((sum, value) => sum + value.total, 0)).toBe((599 * 600) / 2);
    expect(values.reduce((sum, value) => sum + Object.values(value.daily).reduce((a, b) => a + b, 0), 0)).toBe(600);
  });

  test("K06: several paths of one record change together, missing ones are created, and other members are unchanged", async () => {
    const { store, clock } = open();
    await store.set("tally:paths", { current: 5, keep: ["me"] });
    const entry = await store.increment("tally:paths", [
      { path: ["current"], by: 3 },
      { path: ["daily", "2026-03-01"], by: 3 },
      { path: ["deep", "er", "n"], by: -2 },
    ], { merge: { updatedAt: clock.iso() } });
    const value = { current: 8, keep: ["me"], daily: { "2026-03-01": 3 }, deep: { er: { n: -2 } }, updatedAt: clock.iso() };
    expect(entry?.value).toEqual(value);
    expect(await store.get("tally:paths")).toMatchObject({ value, version: entry?.version });
  });

  test("K06: an increment of an absent key starts from its initial value; without one, nothing is stored", async () => {
    const { store } = open();
    expect(await store.increment("tally:absent", one)).toBeNull();
    expect(await store.get("tally:absent")).toBeNull();
    const entry = await store.increment("tally:absent", one, { initial: { value: { n: 10, by: "me" }, tenantId: "tn_inc" } });
    expect(entry?.value).toEqual({ n: 11, by: "me" });
    expect(await store.get("tally:absent")).toMatchObject({ tenantId: "tn_inc" });
    expect((await store.increment("tally:absent", one, { initial: { value: { n: 100 } } }))?.value).toEqual({ n: 12, by: "me" });
  });

  test("K06: a commit returns the records after its increments, and null for an absent one", async () => {
    const { store } = open();
    const result = await store.commit([], [
      { op: "increment", key: "tally:c1", add: one, initial: { value: { n: 1 } } },
      { op: "increment", key: "tally:c2", add: one },
    ]);
    expect(result).toMatchObject({ ok: true, values: { "tally:c1": { n: 2 }, "tally:c2": null } });
    expect(await store.get("tally:c2")).toBeNull();
  });

  test("U04: a gauge is set `to` a value in the same atomic step, within its bounds", async () => {
    const { store } = open();
    const gauge = (to: number, max?: number) =>
      store.increment("tally:gauge", [{ path: ["n"], to, ...(max ? { max } : {}) }, { path: ["writes"], by: 1 }], fromZero);
    expect((await gauge(40))?.value).toEqual({ n: 40, writes: 1 });
    expect((await gauge(7))?.value).toEqual({ n: 7, writes: 2 });
    expect(await codeOf(gauge(8, 7))).toBe("write_conflict");
    await Promise.all(Array.from({ length: 20 }, (_, i) => gauge(i)));
    expect((await store.get("tally:gauge"))?.value).toMatchObject({ writes: 22 });
  });

  test("K06: an increment waits for a record that another session holds and never treats it as absent", async () => {
    const { store, database } = open();
    await store.mset([["tally:held", { n: 5 }], ["tally:held-seats", { n: 5 }]]);
    const outcomes = await withClient(database.superUrl, async (holder) => {
      await holder.query("begin; select from kv.entries where key in ('tally:held', 'tally:held-seats') for update");
      const calls = [
        store.increment("tally:held", one),
        store.increment("tally:held-seats", [{ path: ["n"], by: -1, min: 0 }], { initial: { value: { n: 0 } } }),
      ].map((call) => call.then((entry) => entry?.value ?? null, (error: { code: string }) => error.code));
      await sleep(200);
      await holder.query("commit");
      return await Promise.all(calls);
    });
    expect(outcomes).toEqual([{ n: 6 }, { n: 4 }]);
  });

  test("K06: decimals add exactly", async () => {
    const { store } = open();
    const add = (by: number) => store.increment("tally:decimal", [{ path: ["n"], by }], fromZero);
    for (const by of [0.1, 0.2, 0.3, 1e-7, -0.6]) await add(by);
    expect((await store.get("tally:decimal"))?.value).toEqual({ n: 1e-7 });
  });

  test("K06: a sum out of its bounds refuses the commit, so that of many concurrent claims of ten seats ten succeed", async () => {
    const { store } = open();
    const take = { op: "increment", key: "tally:seats", add: [{ path: ["n"], by: 1, max: 10 }], initial: { value: { n: 0 } } } as const;
    const results = await Promise.all(Array.from({ length: 64 }, () => store.commit([], [take])));
    expect(results.filter((result) => result.ok)).toHaveLength(10);
    expect(results.filter((result) => !result.ok)[0]).toEqual({ ok: false, conflict: "tally:seats", reason: "bounds" });
    expect((await store.get("tally:seats"))?.value).toEqual({ n: 10 });
    const back = await store.commit([], [{ op: "increment", key: "tally:seats", add: [{ path: ["n"], by: -11, min: 0 }] }]);
    expect(back).toEqual({ ok: false, conflict: "tally:seats", reason: "bounds" });
  });

  test("U05: a bound from the record itself holds for concurrent, merged and committed additions, and ends with the member", async () => {
    const { store } = open();
    const add = (percent?: number) => [{ path: ["n"], by: 1, maxOf: { member: "limit", ...(percent === undefined ? {} : { percent }) } }];
    await store.set("tally:own", { n: 0, limit: 10 });
    const racers = await Promise.all(Array.from({ length: 64 }, () => codeOf(store.increment("tally:own", add()))));
    expect(racers.filter((code) => code === "write_conflict")).toHaveLength(54);
    expect((await store.get("tally:own"))?.value).toEqual({ n: 10, limit: 10 });
    const committed = (percent: number) => store.commit([], [{ op: "increment", key: "tally:own", add: add(percent) }]);
    expect(await committed(109.9)).toEqual({ ok: false, conflict: "tally:own", reason: "bounds" });
    expect(await committed(110)).toMatchObject({ ok: true });
    for (const limit of [null, "ten"]) {
      await store.set("tally:own", { n: 11, limit });
      const entries = await Promise.all(Array.from({ length: 8 }, () => store.increment("tally:own", add())));
      expect(Math.max(...entries.map((entry) => (entry?.value as { n: number }).n))).toBe(19);
    }
  });

  test("U05: a first addition is held to the bound of its initial value, and additions that change the bound count one after the other", async () => {
    const { store } = open();
    const within = { member: "limit" };
    const first = () => store.increment("tally:first", [{ path: ["n"], by: 2, maxOf: within }], { initial: { value: { n: 0, limit: 1 } } });
    expect(await codeOf(first())).toBe("write_conflict");
    expect(await store.get("tally:first")).toBeNull();
    await store.set("tally:grows", { n: 0, limit: 0 });
    const grow = () => store.increment("tally:grows", [{ path: ["n"], by: 1, maxOf: within }, { path: ["limit"], by: 1 }]);
    expect(await Promise.all([grow(), grow(), grow()].map(codeOf))).toEqual(Array(3).fill("write_conflict"));
  });

  test("K06: of 40 concurrent commits, only those whose increment is out of its bounds are refused", async () => {
    const { store } = open();
    await store.set("tally:mixed", { n: 0 });
    const commits = Array.from(
      { length: 40 },
      (_, i) => store.commit([], [{ op: "increment", key: "tally:mixed", add: [{ path: ["n"], by: i % 4 === 0 ? 1_000 : 1, max: 500 }] }]),
    );
    const results = await Promise.all(commits);
    expect(results.map((result) => result.ok)).toEqual(Array.from({ length: 40 }, (_, i) => i % 4 !== 0));
    expect((await store.get("tally:mixed"))?.value).toEqual({ n: 30 });
  });

  test("K06: in a batch of increments, one outside its bounds is refused and the others are kept", async () => {
    const { store } = open();
    await store.set("tally:full", { n: 3 });
    const outcomes = await Promise.all(
      Array.from(
        { length: 30 },
        (_, i) =>
          i % 10 === 3
            ? codeOf(store.increment("tally:full", [{ path: ["n"], by: 1, max: 3 }]))
            : store.increment(`tally:beside:${i}`, one, fromZero).then((entry) => entry?.value, (error: unknown) => String(error)),
      ),
    );
    expect(outcomes).toEqual(Array.from({ length: 30 }, (_, i) => i % 10 === 3 ? "write_conflict" : { n: 1 }));
  });

  test.each<[string, unknown]>([["text", "5"], ["null", null], ["list", []], ["object", {}], ["boolean", true]])(
    "K06: adding to a %s is refused and changes nothing",
    async (name, n) => {
      const { store } = open();
      await store.set(`tally:not:${name}`, { n } as { n: null });
      expect(await codeOf(store.increment(`tally:not:${name}`, one))).toBe("validation_failed");
      expect((await store.get(`tally:not:${name}`))?.value).toEqual({ n });
    },
  );

  test("K06: an invalid call in a batch gets its own error, and the others succeed", async () => {
    const { store } = open();
    await store.set("tally:bad", { n: "text" });
    const outcomes = await Promise.all(
      Array.from(
        { length: 30 },
        (_, i) => i % 10 === 3 ? codeOf(store.increment("tally:bad", one)) : store.increment("tally:good", one, fromZero).then(() => "ok"),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === "validation_failed")).toHaveLength(3);
    expect((await store.get("tally:good"))?.value).toEqual({ n: 27 });
  });

  test("K07: append adds in order and keeps the last items of its cap", async () => {
    const { store } = open();
    const append = (items: number[], cap?: number) =>
      store.commit([], [{
        op: "append",
        key: "tally:log",
        path: ["a", "log"],
        items,
        ...(cap ? { cap } : {}),
        initial: { value: { k: 1 } },
      }]);
    await append([1, 2]);
    await append([3]);
    expect((await store.get("tally:log"))?.value).toEqual({ k: 1, a: { log: [1, 2, 3] } });
    expect(await append([4, 5], 3)).toMatchObject({ ok: true, values: { "tally:log": { a: { log: [3, 4, 5] } } } });
  });

  test("K07: appends from many callers are all kept", async () => {
    const { store, another } = open();
    const stores = [store, another(), another()];
    await Promise.all(
      stores.map((own, s) =>
        Promise.all(
          Array.from({ length: 40 }, (_, i) =>
            own.commit([], [{ op: "append", key: "tally:all", path: ["items"], items: [s * 40 + i], initial: { value: {} } }])),
        )
      ),
    );
    const { items } = (await store.get("tally:all"))?.value as { items: number[] };
    expect([...items].sort((a, b) => a - b)).toEqual(Array.from({ length: 120 }, (_, i) => i));
  });

  test("K06: concurrent sets, increments and deletes of one key end in one of the possible states", async () => {
    const { store } = open();
    await Promise.all(
      Array.from(
        { length: 90 },
        (_, i) =>
          i % 3 === 0
            ? store.set("tally:mix", { n: 0 })
            : i % 3 === 1
            ? store.increment("tally:mix", one, fromZero)
            : store.del("tally:mix"),
      ),
    );
    const n = ((await store.get("tally:mix"))?.value as { n: number } | undefined)?.n ?? 0;
    expect(n).toBeGreaterThanOrEqual(0);
    expect(n).toBeLessThanOrEqual(30);
  });

  test("K06: an integer sum beyond 2^53 - 1 is refused instead of losing digits", async () => {
    const { store } = open();
    await store.set("tally:huge", { n: Number.MAX_SAFE_INTEGER });
    expect(await codeOf(store.increment("tally:huge", one))).toBe("validation_failed");
    expect((await store.get("tally:huge"))?.value).toEqual({ n: Number.MAX_SAFE_INTEGER });
  });
};
