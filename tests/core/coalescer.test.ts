import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Coalescer } from "../../shared/core/coalescer.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import { jsonLogger, silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import { freshStore, type OpenStore } from "../support/store.ts";

let open: OpenStore;
beforeAll(async () => {
  open = await freshStore({ driver: "postgres" });
});
afterAll(() => open.close());

/** A store that counts its increments, and can fail them. */
function counting(store: Store, failure: { code?: "store_unavailable" | "commit_unknown" } = {}) {
  const seen = { writes: 0 };
  const own: Store = Object.create(store) as Store;
  own.increment = async (...args) => {
    seen.writes += 1;
    if (failure.code) throw new InnkeepError(failure.code, "The database is away.");
    return await store.increment(...args);
  };
  return { own, seen };
}

const valueOf = async (key: string) => (await open.store.get(key))?.value;

describe("the coalescer", () => {
  test("AK06: writes 1,000 uses of a record in at most 20 writes, the first at once and the last within its interval", async () => {
    await open.store.set("flag:one", { uses: 0 });
    const { own, seen } = counting(open.store);
    const ends: Promise<unknown>[] = [];
    const background = (work: Promise<unknown>) => void ends.push(work);
    const uses = new Coalescer({ store: own, logger: silentLogger, everyMs: 100, background });
    for (let i = 1; i <= 1_000; i++) {
      uses.count("flag:one", { uses: 1 }, { lastUse: i });
      if (i % 200 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // What the runtime is told to wait for includes the last write.
    for (let seenEnds = -1; seenEnds !== ends.length;) {
      seenEnds = ends.length;
      await Promise.all(ends);
    }
    expect(await valueOf("flag:one")).toEqual({ uses: 1_000, lastUse: 1_000 });
    expect(seen.writes).toBeGreaterThan(1);
    expect(seen.writes).toBeLessThanOrEqual(20);
  });

  test("AK06: counts exactly when two processes count the same record and others", async () => {
    const keys = ["flag:two-a", "flag:two-b", "flag:two-c"];
    for (const key of keys) await open.store.set(key, { uses: 0 });
    const processes = [open.store, open.another()].map((store) => new Coalescer({ store, logger: silentLogger, everyMs: 5 }));
    await Promise.all(processes.map(async (uses) => {
      for (let i = 0; i < 500; i++) {
        uses.count(keys[i % 3] ?? "", { uses: 1 });
        if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 3));
      }
    }));
    await Promise.all(processes.map((uses) => uses.flush()));
    expect(await Promise.all(keys.map(valueOf))).toEqual([{ uses: 334 }, { uses: 334 }, { uses: 332 }]);
  });

  test("AK06: keeps the counts of an outage for later, and does not repeat a write whose commit is unknown", async () => {
    await open.store.set("flag:three", { uses: 0 });
    const failure: { code?: "store_unavailable" | "commit_unknown" } = { code: "store_unavailable" };
    const { own } = counting(open.store, failure);
    const lines: string[] = [];
    const uses = new Coalescer({ store: own, logger: jsonLogger((line) => lines.push(line), open.clock.now), everyMs: 10_000 });
    uses.count("flag:three", { uses: 2 }, { by: "first" });
    await uses.flush();
    uses.count("flag:three", { uses: 1 }, { by: "second" });
    delete failure.code;
    await uses.flush();
    expect(await valueOf("flag:three")).toEqual({ uses: 3, by: "second" });
    failure.code = "commit_unknown";
    uses.count("flag:three", { uses: 4 });
    await uses.flush();
    delete failure.code;
    await uses.flush();
    expect(await valueOf("flag:three")).toEqual({ uses: 3, by: "second" });
    expect(lines.map((line) => JSON.parse(line) as { event: string; isRepeated: boolean })).toMatchObject([
      { event: "count_failed", isRepeated: true },
      { event: "count_failed", isRepeated: false },
    ]);
  });

  test("AK06: holds a bounded number of records, and counts nothing for one that does not exist", async () => {
    const { own } = counting(open.store, { code: "store_unavailable" });
    const lines: string[] = [];
    const logger = jsonLogger((line) => lines.push(line), open.clock.now);
    const uses = new Coalescer({ store: own, logger, everyMs: 10_000, maxRecords: 2 });
    for (const key of ["flag:x1", "flag:x2", "flag:x3", "flag:x1", "flag:x4"]) uses.count(key, { uses: 1 });
    await uses.flush();
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { event: "counts_dropped", dropped: 2 },
      { event: "count_failed", key: "flag:x1", records: 2 },
    ]);
    // While a write fails, as many new records arrive: those of the write wait on only where there is room.
    const failing = Object.create(open.store) as Store;
    let arrived = 0;
    const held = new Coalescer({ store: failing, logger, everyMs: 10_000, maxRecords: 2 });
    failing.increment = () => {
      held.count(`flag:y${++arrived}`, { uses: 1 });
      return Promise.reject(new InnkeepError("store_unavailable", "The database is away."));
    };
    held.count("flag:y", { uses: 1 });
    for (let flush = 0; flush < 6; flush++) await held.flush();
    // 1 record, then 2, and never more, however long the outage is.
    expect(arrived).toBe(11);
    const existing = new Coalescer({ store: open.store, logger: silentLogger });
    existing.count("flag:none", { uses: 1 });
    await existing.flush();
    expect(await valueOf("flag:none")).toBeUndefined();
  });
});
