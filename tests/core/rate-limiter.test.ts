import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { RateLimits } from "../../shared/core/caller.ts";
import { rateLimitBucket } from "../../shared/core/rate-limit-bucket.ts";
import { type RateDecision, RateLimiter } from "../../shared/core/rate-limiter.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import { type Logger, silentLogger } from "../../shared/kernel/logger.ts";
import { sha256Hex } from "../../shared/kernel/sha256.ts";
import { keyOf } from "../../shared/kv/define.ts";
import type { Store } from "../../shared/kv/store.ts";
import { withClient } from "../support/client.ts";
import { freshStore, type OpenStore } from "../support/store.ts";

const DAY = 86_400;
const LIMITS: RateLimits = {
  user: { limit: 100, windowSeconds: DAY },
  key: { limit: 1_000, windowSeconds: DAY },
  address: { limit: 10, windowSeconds: DAY },
};

let open: OpenStore;
beforeAll(async () => {
  open = await freshStore({ driver: "postgres" });
});
afterAll(() => open.close());

/** A store that counts its calls. */
function counting(store: Store): { readonly take: Store["take"]; calls: number } {
  const counted = {
    calls: 0,
    take: (take: Parameters<Store["take"]>[0]) => {
      counted.calls++;
      return store.take(take);
    },
  };
  return counted;
}

function limiterOver(store: Pick<Store, "take">, monotonicMs?: () => number, logger: Logger = silentLogger): RateLimiter {
  return new RateLimiter({ store, logger, limits: LIMITS, ...(monotonicMs ? { monotonicMs } : {}) });
}

const allowedOf = (decisions: readonly (RateDecision | null)[]) => decisions.filter((decision) => decision?.allowed).length;
const user = (subject: string) => ({ kind: "user", subject, tenantId: "tn_a" }) as const;

test("H10: of 500 calls at the same time in four processes, as many are allowed as the limit says, leases included", async () => {
  const limiters = (await open.racers(4)).map((store) => limiterOver(store));
  let allowed = 0;
  for (let round = 0; round < 5; round++) {
    const calls = Array.from({ length: 500 }, (_, i) => limiters[i % 4]?.charge(user("race")) ?? Promise.resolve(null));
    allowed += allowedOf(await Promise.all(calls));
  }
  expect(allowed).toBeLessThanOrEqual(100);
  // At most a twentieth of what is left is taken in advance by each process, and may stay unused.
  expect(allowed).toBeGreaterThanOrEqual(80);
});

test("H10: under load most calls need no database call, and the limit is still exact", async () => {
  const store = counting(open.store);
  const limiter = limiterOver(store);
  const payer = { kind: "key", id: "busy" } as const;
  const decisions: (RateDecision | null)[] = [];
  for (let i = 0; i < 1_100; i++) decisions.push(await limiter.charge(payer));
  expect(allowedOf(decisions)).toBe(1_000);
  expect(decisions.findIndex((decision) => !decision?.allowed)).toBe(1_000);
  expect(decisions.map((decision) => decision?.remaining)).toEqual(decisions.map((_, i) => Math.max(0, 999 - i)));
  expect(store.calls).toBeLessThan(200);
});

test("AK11: denied calls are charged with the next call that asks, and the debt is at most what one window refills", async () => {
  let nowMs = 0;
  const limiter = limiterOver(open.store, () => nowMs);
  const payer = { kind: "address", address: "192.0.2.7" } as const;
  await limiter.charge(payer, { cost: 10 });
  for (let i = 0; i < 40; i++) expect((await limiter.charge(payer))?.allowed).toBe(false);
  nowMs += 10_000;
  expect(await limiter.charge(payer)).toMatchObject({ allowed: false, remaining: 0, resetSeconds: DAY });
  const other = await limiterOver(open.store).charge(payer);
  expect(other).toMatchObject({ allowed: false, resetSeconds: DAY });
});

test("AK11: a key's own limit replaces that of keys, is remembered for its next call, and takes effect when it changes", async () => {
  const limiter = limiterOver(open.store);
  const payer = { kind: "key", id: "own" } as const;
  expect(limiter.knows(payer)).toBe(false);
  expect(await limiter.charge(payer, { limit: { limit: 5, windowSeconds: 60 } })).toMatchObject({ allowed: true, remaining: 4 });
  expect(limiter.knows(payer)).toBe(true);
  expect(await limiter.charge(payer)).toMatchObject({ allowed: true, limit: { limit: 5 }, remaining: 3 });
  limiter.learn(payer, { limit: 2, windowSeconds: 60 });
  expect(await limiter.charge(payer, { cost: 3 })).toMatchObject({ allowed: true, limit: { limit: 2 }, remaining: 0 });
  expect((await limiter.charge(payer))?.allowed).toBe(false);
  limiter.learn(payer, undefined);
  expect((await limiter.charge(payer))?.limit).toEqual(LIMITS.key);
});

test("H10: a process's clock that jumps neither adds tokens nor locks its caller out", async () => {
  let nowMs = 1_000_000;
  const limiter = limiterOver(open.store, () => nowMs);
  await limiter.charge(user("jump"), { cost: 100 });
  expect((await limiter.charge(user("jump")))?.allowed).toBe(false);
  nowMs += 2 * DAY * 1_000;
  expect((await limiter.charge(user("jump")))?.allowed).toBe(false);
  nowMs -= 3 * DAY * 1_000;
  expect((await limiter.charge(user("jump")))?.allowed).toBe(false);
  const fresh = user("jump-back");
  await limiter.charge(fresh);
  nowMs -= DAY * 1_000;
  expect((await limiter.charge(fresh))?.allowed).toBe(true);
});

test("H10: while the store does not answer, calls are allowed, with one warning a minute, and the store is asked once a second", async () => {
  let nowMs = 0;
  let calls = 0;
  const warned: string[] = [];
  const away = {
    take: () => {
      calls++;
      return Promise.reject(new InnkeepError("store_unavailable", "The database does not respond."));
    },
  };
  const limiter = limiterOver(away, () => nowMs, { ...silentLogger, warn: (event) => void warned.push(event) });
  for (; nowMs <= 60_000; nowMs += 100) expect(await limiter.charge(user("away"))).toBeNull();
  expect(calls).toBe(61);
  expect(warned).toEqual(["rate_limits_unavailable", "rate_limits_unavailable"]);
});

test("H10: while another session holds one bucket, its caller alone is not limited, and no other caller waits", async () => {
  const limiter = limiterOver(open.store);
  const others = Array.from({ length: 20 }, (_, i) => user(`beside-${i}`));
  await Promise.all([user("held"), ...others].map((payer) => limiter.charge(payer)));
  const key = keyOf(rateLimitBucket, { hash: await sha256Hex("user tn_a held") });
  expect((await open.store.get(key))?.value).toMatchObject({ had: 100 });
  await withClient(open.database.superUrl, async (holder) => {
    await holder.query("begin");
    await holder.query("select from kv.entries where key = $1 for update", [key]);
    const stuck = limiter.charge(user("held"));
    const start = performance.now();
    const decisions = await Promise.all(others.map((payer) => limiter.charge(payer)));
    const waitedMs = performance.now() - start;
    expect(decisions.map((decision) => decision?.remaining)).toEqual(others.map(() => 98));
    expect(await stuck).toBeNull();
    expect(waitedMs).toBeLessThan(500);
    // The caller is answered without the database, and the others are still limited.
    expect(await limiter.charge(user("held"))).toBeNull();
    expect(allowedOf(await Promise.all(others.map((payer) => limiter.charge(payer))))).toBe(20);
    await holder.query("rollback");
  });
  await pause(1_000);
  expect(await limiter.charge(user("held"))).toMatchObject({ allowed: true });
});

test("H10: calls of a bucket that another session locks for a moment wait for it, and each is charged once", async () => {
  const take = { key: "ratelimit:moment", capacity: 100, windowSeconds: 10_000_000, cost: 1 };
  await open.store.take(take);
  await withClient(open.database.superUrl, async (holder) => {
    await holder.query("begin");
    await holder.query("select from kv.entries where key = $1 for update", [take.key]);
    const calls = Array.from({ length: 10 }, () => open.store.take(take));
    await pause(100);
    await holder.query("rollback");
    expect((await Promise.all(calls)).every(({ granted }) => granted)).toBe(true);
  });
  expect(await open.store.take(take)).toMatchObject({ granted: true, tokens: expect.closeTo(88, 1) });
});

test("H10: a process remembers at most 10,000 callers", () => {
  const limiter = limiterOver(open.store);
  for (let i = 0; i <= 10_000; i++) limiter.learn({ kind: "key", id: `k${i}` }, undefined);
  expect([0, 1, 10_000].map((i) => limiter.knows({ kind: "key", id: `k${i}` }))).toEqual([false, true, true]);
});
