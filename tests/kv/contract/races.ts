import { beforeAll, expect, test } from "vitest";
import type { CommitResult, Store } from "../../../shared/kv/store.ts";
import type { Theme } from "./index.ts";

const ROUNDS = 50;

const winners = (results: readonly CommitResult[]) => results.filter((result) => result.ok).length;

/** Every racer has its own open connection, so that all commits run concurrently. */
export const raceCases: Theme = (open) => {
  let racers: Store[] = [];
  beforeAll(async () => {
    racers = await open().racers(50);
  });
  const two = () => racers.slice(0, 2) as [Store, Store];

  test("K04: of 50 concurrent creations of one key, exactly one succeeds, in each of 50 rounds", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const key = `race:create:${round}`;
      const results = await Promise.all(racers.map((racer, value) => racer.commit([{ key, version: null }], [{ op: "set", key, value }])));
      expect(winners(results), `round ${round}`).toBe(1);
      expect((await open().store.get(key))?.value).toBe(results.findIndex((result) => result.ok));
    }
  });

  test("K25: of 50 concurrent claims of one subdomain, exactly one succeeds, in each of 50 rounds", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const key = `subdomain:race-${round}`;
      const results = await Promise.all(racers.map((racer, i) => {
        const tenantId = `tn_race_${round}_${i}`;
        return racer.commit([{ key, version: null }, { key: `tenant:${tenantId}`, version: null }], [
          { op: "set", key, value: { tenantId }, tenantId },
          { op: "set", key: `tenant:${tenantId}`, value: { id: tenantId, status: "active", plan: "Pro", mrr: 1 } },
        ]);
      }));
      const winner = results.findIndex((result) => result.ok);
      expect(winners(results), `round ${round}`).toBe(1);
      expect(await open().store.get(key)).toMatchObject({ tenantId: `tn_race_${round}_${winner}` });
    }
    expect(await open().store.count("tenant")).toBe(ROUNDS);
  });

  test("K04: of two commits that each check the absent key the other writes, at most one succeeds", async () => {
    const [left, right] = two();
    for (let round = 0; round < ROUNDS * 2; round++) {
      const [a, b] = [`cross:${round}:a`, `cross:${round}:b`];
      const results = await Promise.all([
        left.commit([{ key: a, version: null }], [{ op: "set", key: b, value: 1 }]),
        right.commit([{ key: b, version: null }], [{ op: "set", key: a, value: 1 }]),
      ]);
      expect(winners(results), `round ${round}`).toBe(1);
      expect(await open().store.count(`cross:${round}`)).toBe(1);
    }
  });

  test("K04: of two commits that each check the version of the key the other writes, at most one succeeds", async () => {
    const [left, right] = two();
    for (let round = 0; round < ROUNDS; round++) {
      const [a, b] = [`crossed:${round}:a`, `crossed:${round}:b`];
      const [versionA, versionB] = [await open().store.set(a, 0), await open().store.set(b, 0)];
      const results = await Promise.all([
        left.commit([{ key: a, version: versionA }], [{ op: "set", key: b, value: 1 }]),
        right.commit([{ key: b, version: versionB }], [{ op: "delete", key: a }]),
      ]);
      expect(winners(results), `round ${round}`).toBe(1);
    }
  });

  test("K04: a check on an absent key and an unchecked write of it take effect in one order", async () => {
    const [left, right] = two();
    for (let round = 0; round < ROUNDS; round++) {
      const [key, mark] = [`plain:${round}:key`, `plain:${round}:mark`];
      const [checked] = await Promise.all([
        left.commit([{ key, version: null }], [{ op: "set", key, value: "checked" }, { op: "set", key: mark, value: 1 }]),
        right.set(key, "plain"),
      ]);
      const [entry, marked] = await open().store.mget([key, mark]);
      // The plain write is the later one, or the check failed. It is never lost.
      expect(entry?.value, `round ${round}`).toBe("plain");
      expect(marked !== null).toBe(checked.ok);
    }
  });

  test.each(["race:first", "usage:tn_first:users:2026-03"])(
    "K06: concurrent first increments of the absent %s are all kept, in each of 50 rounds",
    async (key) => {
      for (let round = 0; round < ROUNDS; round++) {
        const counter = key.replace(/(first)/, `$1${round}`);
        const add = [{ path: ["n"], by: 1 }];
        const entries = await Promise.all(
          racers.slice(0, 12).map((racer) => racer.increment(counter, add, { initial: { value: { n: 0 } } })),
        );
        const sums = entries.map((entry) => (entry?.value as { n: number }).n);
        expect(sums.toSorted((a, b) => a - b), `round ${round}`).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
      }
    },
  );

  test("K31: commits over the same keys in opposite orders do not deadlock, and all succeed", async () => {
    const keys = Array.from({ length: 12 }, (_, i) => `order:${i}`);
    for (let round = 0; round < ROUNDS; round++) {
      const results = await Promise.all(
        racers.slice(0, 12).map((racer, i) => {
          const mine = i % 2 ? keys.toReversed() : [...keys.slice(i), ...keys.slice(0, i)];
          return racer.commit([], mine.map((key) => ({ op: "increment", key, add: [{ path: ["n"], by: 1 }], initial: { value: {} } })));
        }),
      );
      expect(winners(results)).toBe(12);
    }
    const values = (await open().store.mget(keys)).map((entry) => entry?.value);
    expect(values).toEqual(keys.map(() => ({ n: 12 * ROUNDS })));
  });
};
