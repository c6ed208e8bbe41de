import { beforeAll, expect, test } from "vitest";
import type { Entry, ListOptions, Store } from "../../../shared/kv/store.ts";
import { seededRandom } from "../../support/random.ts";
import { codeOf } from "../../support/store.ts";
import type { Theme } from "./index.ts";

/** All pages of a list, each with at most `limit` entries. */
async function pages(store: Store, options: ListOptions): Promise<Entry[][]> {
  const all: Entry[][] = [];
  let cursor: string | undefined;
  do {
    const page = await store.list({ ...options, ...(cursor ? { cursor } : {}) });
    all.push(page.entries);
    cursor = page.cursor ?? undefined;
  } while (cursor);
  return all;
}

const keysOf = (entries: readonly Entry[]) => entries.map((entry) => entry.key);
const LETTERS = [..."abcdefghij"];

async function collect(entries: AsyncIterable<Entry>): Promise<Entry[]> {
  const all: Entry[] = [];
  for await (const entry of entries) all.push(entry);
  return all;
}

export const listCases: Theme = (open) => {
  beforeAll(async () => {
    await open().store.mset(LETTERS.map((letter) => [`l:${letter}`, { letter }]));
  });

  test("K11: 25,000 keys are listed as 25,000 by values, by pages, with keysOnly and by count", async () => {
    const { store } = open();
    const keys = Array.from({ length: 25_000 }, (_, i) => `big:${String(i).padStart(5, "0")}`);
    for (let at = 0; at < keys.length; at += 1_000) await store.mset(keys.slice(at, at + 1_000).map((key, i) => [key, at + i]));
    expect(await store.getByPrefix("big")).toEqual(keys.map((_, i) => i));
    expect(keysOf(await collect(store.entries({ prefix: "big", keysOnly: true })))).toEqual(keys);
    expect(keysOf((await pages(store, { prefix: "big", limit: 500, keysOnly: true })).flat())).toEqual(keys);
    expect(await store.count("big")).toBe(25_000);
    expect(await store.commit([], [{ op: "deletePrefix", prefix: "big" }])).toMatchObject({ ok: true, deleted: { big: 25_000 } });
    expect(await store.count("big")).toBe(0);
  });

  test("K12: a list returns key, value and version; with keysOnly, no values", async () => {
    const { store } = open();
    const [entry] = (await store.list({ prefix: "l", limit: 1 })).entries;
    expect(entry).toEqual(await store.get("l:a"));
    const bare = await store.list({ prefix: "l", limit: 1, keysOnly: true });
    expect(bare.entries).toEqual([{ ...entry, value: null }]);
  });

  test.each([1, 2, 3, 5, 9, 10, 11])("K13: pages of %i have no empty last page and a null cursor at the end", async (limit) => {
    const read = await pages(open().store, { prefix: "l", limit });
    expect(keysOf(read.flat())).toEqual(LETTERS.map((letter) => `l:${letter}`));
    expect(read.map((page) => page.length)).toEqual(
      Array.from({ length: Math.ceil(10 / limit) }, (_, i) => Math.min(limit, 10 - i * limit)),
    );
  });

  test("K13: an empty range is one empty page with a null cursor", async () => {
    expect(await open().store.list({ prefix: "l:none" })).toEqual({ entries: [], cursor: null });
  });

  test("K13: a cursor continues at its position in another process", async () => {
    const { store, another } = open();
    const first = await store.list({ prefix: "l", limit: 4 });
    const second = await another().list({ prefix: "l", limit: 4, cursor: first.cursor ?? "" });
    expect(keysOf(second.entries)).toEqual(["l:e", "l:f", "l:g", "l:h"]);
  });

  test("K13: a forged cursor cannot leave the range of its list", async () => {
    const { store } = open();
    const { cursor } = await store.list({ prefix: "l", limit: 4 });
    const [fingerprint] = JSON.parse(atob(cursor ?? "")) as [string];
    for (const position of ["a", "", "l", "l:", "l;", "zz:1", "admin:", "L:a", "\u007f"]) {
      const forged = btoa(JSON.stringify([fingerprint, position]));
      expect(await codeOf(store.list({ prefix: "l", cursor: forged }))).toBe("invalid_cursor");
    }
  });

  test("K13: while writers add and remove other keys, untouched keys are neither skipped nor doubled", async () => {
    const { store, another } = open();
    const random = seededRandom("K13 cursors");
    const steady = Array.from({ length: 400 }, (_, i) => `moving:${String(i).padStart(3, "0")}:steady`);
    await store.mset(steady.map((key) => [key, 0]));
    const writer = another();
    let reading = true;
    const churn = (async () => {
      while (reading) {
        const key = `moving:${String(random.below(400)).padStart(3, "0")}:${random.pick(["a", "tmp", "z"])}`;
        await (random.below(2) ? writer.set(key, 1) : writer.del(key));
      }
    })();
    for (const reverse of [false, true]) {
      const read = keysOf((await pages(store, { prefix: "moving", limit: 7, reverse })).flat());
      expect(new Set(read).size).toBe(read.length);
      expect(read.filter((key) => key.endsWith(":steady"))).toEqual(reverse ? steady.toReversed() : steady);
    }
    reading = false;
    await churn;
  });

  test("K13: a damaged cursor, and one of another range or direction, is invalid_cursor", async () => {
    const { store } = open();
    const { cursor } = await store.list({ prefix: "l", limit: 2 });
    const bad = cursor ?? "";
    const calls = [
      store.list({ prefix: "l", cursor: "nonsense" }),
      store.list({ prefix: "l", cursor: "" }),
      store.list({ prefix: "l", cursor: bad.slice(0, -3) }),
      store.list({ prefix: "l", cursor: bad, reverse: true }),
      store.list({ prefix: "other", cursor: bad }),
      store.list({ prefix: "l", end: "l:f", cursor: bad }),
      store.list({ prefix: "l", cursor: "\u0000" }),
      store.list({ prefix: "l", cursor: "é".repeat(900) }),
    ];
    expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => "invalid_cursor"));
  });

  test.each<[ListOptions, string]>([
    [{ prefix: "l", start: "l:d" }, "defghij"],
    [{ prefix: "l", end: "l:d" }, "abc"],
    [{ prefix: "l", start: "l:c", end: "l:f" }, "cde"],
    [{ prefix: "l", start: "l:c", end: "l:f", reverse: true }, "edc"],
    [{ prefix: "l", start: "l:f", end: "l:c" }, ""],
    [{ prefix: "l", start: "l:c", end: "l:c" }, ""],
    [{ prefix: "l", reverse: true, limit: 3 }, "jih"],
    [{ start: "l:h", end: "m:a" }, "hija"],
    [{ prefix: "l", start: "a" }, "abcdefghij"],
    [{ prefix: "l", start: "a", end: "zzz" }, "abcdefghij"],
    [{ prefix: "l", start: "m" }, ""],
    [{ prefix: "l", end: "k" }, ""],
  ])("K14: start, end, reverse and limit restrict a prefix and never extend it: %j", async (options, expected) => {
    const { store } = open();
    await store.mset([["k:z", 0], ["m:a", 0], ["l", 0], ["la:a", 0]]);
    const { entries } = await store.list(options);
    expect(entries.map((entry) => entry.key.split(":")[1]).join("")).toBe(expected);
    expect(keysOf(await collect(store.entries(options)))).toHaveLength(options.limit ? 10 : expected.length);
  });

  test("K14: reverse pages contain the forward pages in reverse order", async () => {
    const read = (await pages(open().store, { prefix: "l", limit: 3, reverse: true })).flat();
    expect(read.map((entry) => entry.key)).toEqual(LETTERS.toReversed().map((letter) => `l:${letter}`));
  });

  test.each([0, -1, 501, 1.5, Number.NaN, Number.POSITIVE_INFINITY])("K14: a limit of %d is refused", async (limit) => {
    expect(await codeOf(open().store.list({ prefix: "l", limit }))).toBe("invalid_parameter");
  });

  test("K14: the whole store can be listed, and the default limit is 100 entries", async () => {
    const { store } = open();
    await store.mset(Array.from({ length: 120 }, (_, i) => [`hundred:${i}`, i]));
    expect((await store.list({ prefix: "hundred" })).entries).toHaveLength(100);
    const all = keysOf(await collect(store.entries({ prefix: "" })));
    expect(all).toHaveLength(await store.count(""));
    expect(all).toEqual([...all].sort());
  });

  test("K15: count is exact for a prefix of any depth", async () => {
    const { store } = open();
    await store.mset(Array.from({ length: 30 }, (_, i) => [`deep:${i % 3}:${i % 5}:${i}`, i]));
    expect(await store.count("deep")).toBe(30);
    expect(await store.count("deep:1")).toBe(10);
    expect(await store.count("deep:1:4")).toBe(2);
    expect(await store.count("deep:1:4:4")).toBe(0);
    expect(await store.count("nobody")).toBe(0);
  });

  test("K11: entries() reads page by page and can be stopped early", async () => {
    const seen: string[] = [];
    for await (const entry of open().store.entries({ prefix: "l", pageSize: 3, reverse: true })) {
      seen.push(entry.key);
      if (seen.length === 4) break;
    }
    expect(seen).toEqual(["l:j", "l:i", "l:h", "l:g"]);
  });
};
