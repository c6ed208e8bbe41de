import { describe, expect, test } from "vitest";
import { setTimeout as sleep } from "node:timers/promises";
import { type ByteSink, LineWriter } from "../../shared/kernel/line-writer.ts";

/** A sink that accepts as many bytes of each write as `take` returns. `take` can throw, like a pipe or a disk. */
function sinkOf(take: (bytes: Uint8Array) => number | Promise<number> = (bytes) => bytes.length) {
  const writes: string[] = [];
  const note = (bytes: Uint8Array, count: number) => {
    writes.push(new TextDecoder().decode(bytes.subarray(0, count)));
    return count;
  };
  const sink: ByteSink = {
    write: async (bytes) => note(bytes, await take(bytes)),
    writeSync: (bytes) => note(bytes, bytes.length),
  };
  return { sink, writes };
}
const lost = (count: number, reason: string) => `${count} lost: ${reason}`;
const failing = (message: string) => {
  throw new Error(message);
};

describe("the lines of a log", () => {
  test("O11: that arrive within a few milliseconds are written in one call, in order", async () => {
    const { sink, writes } = sinkOf();
    const writer = new LineWriter(sink, lost);
    for (let i = 0; i < 100; i++) writer.line(String(i));
    expect(writes).toEqual([]);
    await expect.poll(() => writes.length).toBe(1);
    expect(writes[0]).toBe(Array.from({ length: 100 }, (_, i) => `${i}\n`).join(""));
    writer.line("later");
    await expect.poll(() => writes).toHaveLength(2);
  });

  test("O11: are written at once if one of them is an error, or if they exceed 64 KiB", async () => {
    const { sink, writes } = sinkOf();
    const writer = new LineWriter(sink, lost);
    writer.line("before");
    writer.line("error", true);
    await Promise.resolve();
    expect(writes).toEqual(["before\nerror\n"]);
    await writer.flush();
    for (let i = 0; i < 8; i++) writer.line("x".repeat(9_000));
    await Promise.resolve();
    expect(writes).toHaveLength(2);
  });

  test("O11: are completed after a partial write, and the lines that arrive meanwhile follow together", async () => {
    const { sink, writes } = sinkOf(async (bytes) => {
      await sleep(1);
      return Math.min(7, bytes.length);
    });
    const writer = new LineWriter(sink, lost);
    writer.line("the first of them", true);
    for (let i = 0; i < 10; i++) writer.line(`line ${i}`, i === 5);
    await writer.flush();
    expect(writes.join("")).toBe(`the first of them\n${Array.from({ length: 10 }, (_, i) => `line ${i}\n`).join("")}`);
    expect(Math.max(...writes.map((part) => part.length))).toBeLessThanOrEqual(7);
  });

  test("O11: that cannot be written are dropped and counted, and the count is written when writing works again", async () => {
    let state: "full" | "gone" | "well" = "full";
    const { sink, writes } = sinkOf((bytes) => state === "well" ? bytes.length : failing(state));
    const writer = new LineWriter(sink, lost);
    for (const text of ["a", "b", "c"]) writer.line(text);
    await writer.flush();
    state = "gone";
    writer.line("d");
    await writer.flush();
    expect(writes).toEqual([]);
    state = "well";
    writer.line("e");
    await writer.flush();
    writer.line("f");
    await writer.flush();
    expect(writes).toEqual(["\n4 lost: gone\ne\n", "f\n"]);
  });

  test("O11: are buffered up to 1 MiB, and no more, while the reader of the log does not read", async () => {
    const waiting: (() => void)[] = [];
    const { sink, writes } = sinkOf((bytes) => new Promise((resolve) => waiting.push(() => resolve(bytes.length))));
    const writer = new LineWriter(sink, lost);
    writer.line("first", true);
    for (let i = 0; i < 2_000; i++) writer.line("x".repeat(1_023));
    waiting.shift()?.();
    await expect.poll(() => waiting.length).toBe(1);
    waiting.shift()?.();
    await expect.poll(() => writes.length).toBe(2);
    const told = "976 lost: the reader is too slow\n";
    expect([writes[1]?.slice(0, told.length), writes[1]?.length]).toEqual([told, told.length + 1024 * 1024]);
    writer.line("after", true);
    await expect.poll(() => waiting.length).toBe(1);
    waiting.shift()?.();
    await expect.poll(() => writes[2]).toBe("after\n");
  });

  test("O11: that are still buffered are written before the process ends", () => {
    const { sink, writes } = sinkOf();
    const writer = new LineWriter(sink, lost);
    writer.line("one");
    writer.line("two");
    writer.flushSync();
    writer.flushSync();
    expect(writes).toEqual(["one\ntwo\n"]);
  });

  test("O11: do not delay the end of the process by more than the flush timeout when nobody reads", async () => {
    const { sink, writes } = sinkOf(() => new Promise(() => undefined));
    const writer = new LineWriter(sink, lost);
    writer.line("stuck", true);
    const startedMs = performance.now();
    await writer.flush(50);
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(45);
    expect(writes).toEqual([]);
  });
});
