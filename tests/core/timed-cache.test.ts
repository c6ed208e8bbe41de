import { expect, test } from "vitest";
import { TimedCache } from "../../shared/core/timed-cache.ts";
import { testClock } from "../support/store.ts";

/** A cache over a value that other processes change, and the number of its reads. */
function cached(maxEntries?: number) {
  const clock = testClock();
  const cache = new TimedCache<{ readonly version: number }>(clock, maxEntries);
  const on = { clock, cache, present: 1, reads: 0, fails: false, until: Promise.resolve() };
  const get = (name = "a") =>
    cache.get(name, async (old) => {
      on.reads += 1;
      const version = on.present;
      await on.until;
      if (on.fails) throw new Error("the store is away");
      return old?.version === version ? old : { version };
    });
  return { on, get };
}

test("K33: a value is read once for many callers, and again when it is 10 seconds old", async () => {
  const { on, get } = cached();
  const all = await Promise.all([get(), get(), get()]);
  expect([on.reads, new Set(all).size]).toEqual([1, 1]);
  on.present = 2;
  on.clock.advance(9_999);
  expect(await get()).toEqual({ version: 1 });
  on.clock.advance(1);
  expect(await get()).toEqual({ version: 2 });
  expect(on.reads).toBe(2);
});

test("K33: a value whose version is the same after its time is the same object", async () => {
  const { on, get } = cached();
  const first = await get();
  on.clock.advance(10_000);
  expect(await get()).toBe(first);
  expect(on.reads).toBe(2);
});

test("K33: a writer reads its own change, also if a read that began before the change ends after it", async () => {
  const { on, get } = cached();
  let goOn = () => {};
  on.until = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const before = get();
  on.present = 2;
  on.cache.forget("a");
  on.until = Promise.resolve();
  expect(await get()).toEqual({ version: 2 });
  goOn();
  expect(await before).toEqual({ version: 1 });
  expect(await get()).toEqual({ version: 2 });
});

test("K33: a change of one tenant's value leaves the others, and the oldest goes when there are too many", async () => {
  const { on, get } = cached(2);
  await get("tn_1");
  await get("tn_2");
  on.cache.forget("tn_1");
  await get("tn_2");
  expect(on.reads).toBe(2);
  await get("tn_1");
  await get("tn_3");
  expect(on.reads).toBe(4);
  await get("tn_1");
  expect(on.reads).toBe(4);
  await get("tn_2");
  expect(on.reads).toBe(5);
});

test("K33: a failed read is not kept, and a clock that was set back does not keep a value for ever", async () => {
  const { on, get } = cached();
  on.fails = true;
  await expect(get()).rejects.toThrow("away");
  on.fails = false;
  await get();
  expect(on.reads).toBe(2);
  on.clock.advance(-1);
  await get();
  expect(on.reads).toBe(3);
});
