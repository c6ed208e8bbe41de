import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { keyOf } from "../../../shared/kv/define.ts";
import type { Take } from "../../../shared/kv/take.ts";
import { rateLimitBucket } from "../../../shared/core/rate-limit-bucket.ts";
import { codeOf } from "../../support/store.ts";
import type { Theme } from "./index.ts";

/** So long that no token is refilled while a test runs. */
const LONG = 10_000_000;

function takeOf(hash: string, more: Partial<Take> = {}): Take {
  return { key: keyOf(rateLimitBucket, { hash }), capacity: 10, windowSeconds: LONG, cost: 1, ...more };
}

export const takeCases: Theme = (open, serverCase) => {
  test("H10: a new bucket is full, and a call is granted if the bucket has its tokens", async () => {
    const { store } = open();
    expect(await store.take(takeOf("new", { cost: 4 }))).toEqual({ granted: true, tokens: 6, more: 0 });
    expect(await store.take(takeOf("new", { cost: 6 }))).toMatchObject({ granted: true, tokens: expect.closeTo(0, 3) });
    expect(await store.take(takeOf("other", { cost: 11 }))).toMatchObject({ granted: false, tokens: -1 });
  });

  test("AK11: denied calls are charged too, up to a debt from which one window refills one token", async () => {
    const { store } = open();
    await store.take(takeOf("debt", { cost: 10 }));
    expect(await store.take(takeOf("debt", { cost: 3 }))).toMatchObject({ granted: false, tokens: expect.closeTo(-3, 3) });
    expect(await store.take(takeOf("debt", { cost: 1, owed: 2 }))).toMatchObject({ granted: false, tokens: expect.closeTo(-6, 3) });
    expect(await store.take(takeOf("debt", { cost: 1_000 }))).toMatchObject({ granted: false, tokens: -9 });
    expect(await store.take(takeOf("debt", { capacity: 1, windowSeconds: LONG }))).toMatchObject({ granted: false, tokens: 0 });
  });

  serverCase("H10: a bucket is refilled evenly by the server's clock, whatever the clock of the program says", async () => {
    const { store, clock } = open();
    const startedAt = performance.now();
    const take = (cost: number) => store.take(takeOf("refill", { capacity: 1_000, windowSeconds: 1, cost }));
    await take(1_000);
    for (const jumpMs of [3_600_000, -7_200_000]) {
      clock.advance(jumpMs);
      const { tokens } = await take(0);
      expect(tokens).toBeLessThanOrEqual(performance.now() - startedAt);
    }
    await pause(200);
    expect((await take(0)).tokens).toBeGreaterThanOrEqual(199);
    await pause(850);
    expect((await take(0)).tokens).toBe(1_000);
  });

  test("H10: of what is left, a call gets at most a twentieth for later calls, and nothing near the limit", async () => {
    const { store } = open();
    const take = (cost: number) => store.take(takeOf("lease", { capacity: 1_000, cost, wanted: 30 }));
    expect(await take(1)).toEqual({ granted: true, tokens: 969, more: 30 });
    expect(await take(469)).toMatchObject({ granted: true, more: 25 });
    expect(await take(456)).toMatchObject({ granted: true, tokens: expect.closeTo(19, 1), more: 0 });
  });

  test("H10: calls of one turn on several buckets share a statement, and each is granted in its turn", async () => {
    const { store } = open();
    const calls = Array.from({ length: 150 }, (_, i) => store.take(takeOf(`turn-${i % 10}`)));
    const granted = (await Promise.all(calls)).map((taken) => taken.granted);
    expect(granted).toEqual(granted.map((_, i) => i < 100));
    const versions = await Promise.all([0, 9].map((i) => store.get(`ratelimit:turn-${i}`)));
    expect(versions.map((entry) => entry?.value)).toMatchObject([{ cost: 15, had: 10, tokens: -5 }, { cost: 15, had: 10, tokens: -5 }]);
  });

  serverCase("H10: of 500 calls of 8 processes at the same time, a bucket grants as many as it has tokens", async () => {
    const processes = await open().racers(8);
    for (const cost of [1, 3]) {
      const calls = Array.from({ length: 500 }, (_, i) => processes[i % 8]?.take(takeOf(`race-${cost}`, { capacity: 100, cost })));
      const granted = (await Promise.all(calls)).filter((taken) => taken?.granted).length;
      if (cost === 1) expect(granted).toBe(100);
      // A denied call takes the tokens that are left, so fewer are granted when one call fits in no more.
      else expect(granted * cost).toBeLessThanOrEqual(100);
      expect(granted).toBeGreaterThan(0);
    }
  });

  test("H10: a bucket belongs to the platform and expires when it must be full again", async () => {
    const { store, clock } = open();
    await store.take(takeOf("gone", { windowSeconds: 60, cost: 10 }));
    clock.set(new Date().toISOString());
    const { tenantId, expiresAt } = await store.get("ratelimit:gone") ?? {};
    expect(tenantId).toBeNull();
    expect(Math.abs(Date.parse(expiresAt ?? "") - Date.now() - 180_000)).toBeLessThan(10_000);
  });

  test("H10: a call with a cost, capacity or window that is no such number, and one of a tenant's store, is refused", async () => {
    const { store } = open();
    for (const wrong of [{ capacity: 0 }, { capacity: 1.5 }, { windowSeconds: 0 }, { cost: -1 }, { owed: Number.NaN }, { wanted: 0.5 }]) {
      expect(await codeOf(store.take(takeOf("wrong", wrong)))).toBe("invalid_parameter");
    }
    expect(await codeOf(store.take(takeOf("wrong", { key: "a b" })))).toBe("invalid_key");
    expect(await codeOf(store.forTenant("tn_a").take(takeOf("wrong")))).toBe("forbidden");
    expect(await store.get("ratelimit:wrong")).toBeNull();
  });
};
