import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ConnectionPool } from "../../shared/kv/connection-pool.ts";
import type { PooledConnection } from "../../shared/kv/connection-pool.ts";
import { deadlineIn } from "../../shared/kv/deadline.ts";
import { ConnectionFault } from "../../shared/kv/driver.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

interface Resolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** `Promise.withResolvers` is not in Node 20. */
function withResolvers<T>(): Resolvers<T> {
  let parts: Omit<Resolvers<T>, "promise"> | undefined;
  const promise = new Promise<T>((resolve, reject) => {
    parts = { resolve, reject };
  });
  promise.catch(() => undefined);
  if (!parts) throw new Error("a promise calls its executor at once");
  return { promise, ...parts };
}

/** A connection that the tests establish, answer and close. */
class FakeConnection implements PooledConnection {
  readonly #made = withResolvers<void>();
  readonly #ended = withResolvers<void>();
  readonly work: { readonly name: string; readonly done: Resolvers<string> }[] = [];
  destroyed = false;
  constructor(private readonly closed: () => void) {}

  connect = () => this.#made.promise;
  end = () => this.#ended.promise;
  destroy(): void {
    this.destroyed = true;
    this.#made.reject(new Error("destroyed"));
    for (const { done } of this.work) done.reject(new Error("destroyed"));
    this.close();
  }
  close(): void {
    this.#ended.resolve();
    this.closed();
  }
  make(): Promise<unknown> {
    this.#made.resolve();
    return settled();
  }
  refuse(): Promise<unknown> {
    this.#made.reject(new Error("refused"));
    return settled();
  }
  do(name: string): Promise<string> {
    const done = withResolvers<string>();
    this.work.push({ name, done });
    return done.promise;
  }
  answer(): Promise<unknown> {
    this.work.at(-1)?.done.resolve("ok");
    return settled();
  }
  get names(): string[] {
    return this.work.map(({ name }) => name);
  }
}

const settled = () => vi.advanceTimersByTimeAsync(0);

function pool(max: number) {
  const made: FakeConnection[] = [];
  const outcomes: string[] = [];
  const connections = new ConnectionPool<FakeConnection>({
    max,
    timeoutMs: 1_000,
    idleTimeoutMs: 30_000,
    open: (closed) => {
      const connection = new FakeConnection(closed);
      made.push(connection);
      return connection;
    },
  });
  const run = (name: string, withinMs = 1_000) =>
    void connections.run((connection) => connection.do(name), () => false, deadlineIn(withinMs)).then(
      (value) => outcomes.push(`${name}: ${value}`),
      (error: unknown) =>
        outcomes.push(`${name}: ${error instanceof ConnectionFault ? `${error.name}, ${error.sent ? "sent" : "never sent"}` : "failed"}`),
    );
  const at = (i: number) => {
    const connection = made[i];
    if (!connection) throw new Error(`connection ${i} was not opened`);
    return connection;
  };
  return { run, made, at, outcomes, connections };
}

test("K31: a connection that does not respond is destroyed at the deadline, and the next call opens another at once", async () => {
  const { run, at, outcomes } = pool(1);
  run("a");
  await at(0).make();
  run("b", 5_000);
  await vi.advanceTimersByTimeAsync(1_000);
  expect([outcomes, at(0).destroyed]).toEqual([["a: TimeoutFault, sent"], true]);
  await at(1).make();
  await at(1).answer();
  expect(outcomes).toEqual(["a: TimeoutFault, sent", "b: ok"]);
});

test("K31: a call whose deadline passes while it waits for a connection is never started", async () => {
  const { run, at, outcomes, made } = pool(1);
  run("a", 5_000);
  await at(0).make();
  run("b");
  await vi.advanceTimersByTimeAsync(1_000);
  await at(0).answer();
  run("c");
  await at(0).answer();
  expect(outcomes).toEqual(["b: TimeoutFault, never sent", "a: ok", "c: ok"]);
  expect(made.map(({ names }) => names)).toEqual([["a", "c"]]);
});

test("K31: a call whose deadline passes while its connection is established is never started, and that connection is destroyed", async () => {
  const { run, at, outcomes, made } = pool(1);
  run("a");
  await vi.advanceTimersByTimeAsync(900);
  run("b");
  await vi.advanceTimersByTimeAsync(100);
  expect([outcomes, at(0).destroyed]).toEqual([["a: TimeoutFault, never sent"], true]);
  await at(1).make();
  await at(1).answer();
  expect(outcomes.at(-1)).toBe("b: ok");
  expect(made.map(({ names }) => names)).toEqual([[], ["b"]]);
});

test("K31: a connection opened for a call that another one served is used by later calls", async () => {
  const { run, at, outcomes, made } = pool(2);
  run("a");
  await at(0).make();
  run("b");
  await at(0).answer();
  await at(0).answer();
  expect(outcomes).toEqual(["a: ok", "b: ok"]);
  await vi.advanceTimersByTimeAsync(2_000);
  await at(1).make();
  expect(made.map(({ destroyed }) => destroyed)).toEqual([false, false]);
  run("c");
  await at(1).answer();
  expect(outcomes.at(-1)).toBe("c: ok");
});

test("K31: a call whose deadline has already passed is not sent", async () => {
  const { run, outcomes, made } = pool(1);
  run("a", 0);
  await settled();
  expect([outcomes, made.length]).toEqual([["a: TimeoutFault, never sent"], 0]);
});

test("K31: a refused connection fails one call, and the other calls open connections of their own", async () => {
  const { run, at, outcomes } = pool(1);
  for (const name of ["a", "b", "c"]) run(name);
  await at(0).refuse();
  await at(1).refuse();
  await at(2).make();
  await at(2).answer();
  expect(outcomes).toEqual(["a: ConnectionFault, never sent", "b: ConnectionFault, never sent", "c: ok"]);
});

test("K31: an idle connection that the server closes is not used again", async () => {
  const { run, at, outcomes } = pool(1);
  run("a");
  await at(0).make();
  await at(0).answer();
  at(0).close();
  run("b");
  await at(1).make();
  await at(1).answer();
  expect(outcomes).toEqual(["a: ok", "b: ok"]);
});

test("K31: connections are closed after 30 s without use, and no timer then keeps the process alive", async () => {
  const { run, at, made } = pool(2);
  run("a");
  run("b");
  for (const i of [0, 1]) await at(i).make();
  for (const i of [0, 1]) await at(i).answer();
  await vi.advanceTimersByTimeAsync(20_000);
  run("c");
  await at(1).answer();
  // `end` does not resolve, so the connection is destroyed a second later.
  await vi.advanceTimersByTimeAsync(11_000);
  expect(made.map(({ destroyed }) => destroyed)).toEqual([true, false]);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(made.map(({ destroyed }) => destroyed)).toEqual([true, true]);
  expect(vi.getTimerCount()).toBe(0);
});

test("K31: close waits for running work, but not for a server that does not close its connections", async () => {
  const { run, at, outcomes, connections } = pool(3);
  run("a");
  run("b");
  await Promise.all([at(0).make(), at(1).make()]);
  await at(0).answer();
  const order: string[] = [];
  void connections.close().then(() => order.push("closed"));
  run("late");
  await settled();
  expect(outcomes).toEqual(["a: ok", "late: ConnectionFault, never sent"]);
  await at(1).answer();
  await vi.advanceTimersByTimeAsync(999);
  expect(order).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect([outcomes.at(-1), order]).toEqual(["b: ok", ["closed"]]);
  expect(vi.getTimerCount()).toBe(0);
});

test("K31: after a connection fails, those idle since before its call are closed too, and those used later remain", async () => {
  const { run, at, outcomes, made } = pool(4);
  for (const name of ["a", "b", "c"]) run(name);
  for (const i of [0, 1, 2]) await at(i).make();
  for (const i of [0, 1, 2]) await at(i).answer();
  await vi.advanceTimersByTimeAsync(10);
  run("silent");
  run("works");
  await vi.advanceTimersByTimeAsync(10);
  await at(1).answer();
  await vi.advanceTimersByTimeAsync(990);
  expect([outcomes.at(-1), at(2).destroyed]).toEqual(["silent: TimeoutFault, sent", true]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(made.map(({ destroyed }) => destroyed)).toEqual([true, false, true]);
});
