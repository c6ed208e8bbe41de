import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Batcher } from "../../shared/kv/batcher.ts";
import type { Outcome } from "../../shared/kv/batcher.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

interface Sent {
  readonly calls: readonly string[];
  readonly deadline: number;
  returns(): Promise<void>;
}

const settled = async () => void await vi.advanceTimersByTimeAsync(0);

/** A batcher with a timeout of one second. The tests control when its batches return. */
function batcher(
  options: {
    readonly lanes?: number;
    readonly slowAfterMs?: number;
    readonly joins?: () => (call: string) => boolean;
    readonly gathers?: boolean;
  } = {},
) {
  const sent: Sent[] = [];
  const outcomes: string[] = [];
  const batches = new Batcher<string, string>({
    lanes: 1,
    maxCalls: 10,
    timeoutMs: 1_000,
    expired: (was) => new Error(was ? "expired in flight" : "expired in the queue"),
    send: (calls, deadline) =>
      new Promise<Outcome<string>[]>((resolve) =>
        void sent.push({
          calls,
          deadline,
          returns: () => {
            resolve(calls.map((call) => ({ ok: true, value: call })));
            return settled();
          },
        })
      ),
    ...options,
  });
  const run = (call: string, deadline?: number) =>
    void batches.run(call, deadline).then(
      (value) => outcomes.push(`${value}: ok`),
      (error: Error) => outcomes.push(`${call}: ${error.message}`),
    );
  return { run, sent, outcomes };
}

test("reads that are asked for in one turn go together, and those of the next turn do not wait for them", async () => {
  const { run, sent, outcomes } = batcher({ lanes: 2, gathers: true });
  run("a");
  run("b");
  expect(sent).toEqual([]);
  await settled();
  run("c");
  await settled();
  expect(sent.map(({ calls }) => calls)).toEqual([["a", "b"], ["c"]]);
  for (const batch of sent) await batch.returns();
  expect(outcomes).toEqual(["a: ok", "b: ok", "c: ok"]);
});

describe("a batch that hangs", () => {
  test("K31: frees its lane, so that waiting calls are sent long before its deadline", async () => {
    const { run, sent, outcomes } = batcher({ slowAfterMs: 100 });
    run("a");
    run("b");
    await vi.advanceTimersByTimeAsync(99);
    expect(sent.map(({ calls }) => calls)).toEqual([["a"]]);
    await vi.advanceTimersByTimeAsync(1);
    expect(sent.map(({ calls }) => calls)).toEqual([["a"], ["b"]]);
    run("c");
    await sent[1]?.returns();
    expect(sent.map(({ calls }) => calls)).toEqual([["a"], ["b"], ["c"]]);
    await sent[2]?.returns();
    await vi.advanceTimersByTimeAsync(900);
    expect(outcomes).toEqual(["b: ok", "c: ok", "a: expired in flight"]);
  });

  test("K31: with a hung server at most twice as many batches as lanes are in flight, and a late result frees a lane once", async () => {
    const { run, sent } = batcher({ slowAfterMs: 100 });
    for (const call of ["a", "b", "c", "d"]) {
      run(call);
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(sent.map(({ calls }) => calls)).toEqual([["a"], ["b"]]);
    await sent[0]?.returns();
    await vi.advanceTimersByTimeAsync(100);
    expect(sent.map(({ calls }) => calls)).toEqual([["a"], ["b"], ["c", "d"]]);
    await sent[1]?.returns();
    await sent[2]?.returns();
    run("e");
    run("f");
    expect(sent.map(({ calls }) => calls)).toEqual([["a"], ["b"], ["c", "d"], ["e"]]);
  });
});

describe("deadlines of batched calls", () => {
  test("K31: a call whose deadline passes in the queue is rejected and never sent", async () => {
    const { run, sent, outcomes } = batcher();
    run("a");
    await vi.advanceTimersByTimeAsync(100);
    run("b");
    await vi.advanceTimersByTimeAsync(300);
    run("c");
    await vi.advanceTimersByTimeAsync(700);
    expect(outcomes).toEqual(["a: expired in flight", "b: expired in the queue"]);
    await sent[0]?.returns();
    expect(sent.map(({ calls }) => calls)).toEqual([["a"], ["c"]]);
    await sent[1]?.returns();
    expect(outcomes).toEqual(["a: expired in flight", "b: expired in the queue", "c: ok"]);
  });

  test("K31: a call that waits behind calls with later deadlines is rejected at its own", async () => {
    const { run, sent, outcomes } = batcher();
    const start = performance.now();
    run("hung", start + 1_000);
    run("late", start + 900);
    run("early", start + 200);
    run("middle", start + 500);
    await vi.advanceTimersByTimeAsync(199);
    expect(outcomes).toEqual([]);
    for (const [ms, call] of [[1, "early"], [300, "middle"], [400, "late"]] as const) {
      await vi.advanceTimersByTimeAsync(ms);
      expect(outcomes.at(-1)).toBe(`${call}: expired in the queue`);
    }
    await vi.advanceTimersByTimeAsync(100);
    expect(outcomes).toHaveLength(4);
    await sent[0]?.returns();
    expect(sent).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("K31: each call of a batch in flight is rejected at its own deadline, the batch at the latest one", async () => {
    const { run, sent, outcomes } = batcher();
    run("a");
    await vi.advanceTimersByTimeAsync(200);
    run("b");
    await vi.advanceTimersByTimeAsync(200);
    run("c");
    await sent[0]?.returns();
    expect(sent[1]).toMatchObject({ calls: ["b", "c"], deadline: performance.now() + 1_000 });
    await vi.advanceTimersByTimeAsync(799);
    expect(outcomes).toEqual(["a: ok"]);
    await vi.advanceTimersByTimeAsync(1);
    expect(outcomes).toEqual(["a: ok", "b: expired in flight"]);
    await vi.advanceTimersByTimeAsync(199);
    await sent[1]?.returns();
    expect(outcomes).toEqual(["a: ok", "b: expired in flight", "c: ok"]);
  });

  test("K31: while one lane is blocked, later calls use the other one", async () => {
    const { run, sent, outcomes } = batcher({ lanes: 2 });
    run("silent");
    for (let i = 0; i < 5; i++) {
      run(`n${i}`);
      await sent.at(-1)?.returns();
      await vi.advanceTimersByTimeAsync(300);
    }
    expect(outcomes).toEqual(["n0: ok", "n1: ok", "n2: ok", "n3: ok", "silent: expired in flight", "n4: ok"]);
  });

  test("K31: a call that cannot join the next batch keeps its deadline", async () => {
    const joins = () => {
      let size = 0;
      return (call: string) => size++ === 0 || call !== "alone";
    };
    const { run, sent, outcomes } = batcher({ joins });
    for (const call of ["a", "b", "alone", "c"]) run(call);
    await sent[0]?.returns();
    expect(sent.map(({ calls }) => calls)).toEqual([["a"], ["b", "c"]]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(outcomes).toEqual(["a: ok", "b: expired in flight", "c: expired in flight", "alone: expired in the queue"]);
    await sent[1]?.returns();
    expect(sent).toHaveLength(2);
  });

  test("K31: 1,000 calls use one timer, and none is left when they have completed", async () => {
    const { run, sent, outcomes } = batcher();
    for (let i = 0; i < 1_000; i++) run(String(i));
    expect(vi.getTimerCount()).toBe(1);
    for (let batch = 0; batch < 101; batch++) await sent[batch]?.returns();
    expect(outcomes).toHaveLength(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("K31: no timer is left when every call has been rejected, and the next call sets one", async () => {
    const { run, sent, outcomes } = batcher();
    run("a");
    run("b");
    await vi.advanceTimersByTimeAsync(1_000);
    expect([outcomes.length, vi.getTimerCount()]).toEqual([2, 0]);
    run("c");
    expect(vi.getTimerCount()).toBe(1);
    await sent[0]?.returns();
    await sent[1]?.returns();
    expect(outcomes.at(-1)).toBe("c: ok");
    expect(vi.getTimerCount()).toBe(0);
  });
});
