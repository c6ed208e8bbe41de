import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Store } from "../../shared/kv/store.ts";
import { withClient } from "../support/client.ts";
import { ownCluster } from "../support/own-cluster.ts";
import type { OwnCluster } from "../support/own-cluster.ts";
import { pauseServer } from "../support/paused-server.ts";
import { codeOf, freshStore } from "../support/store.ts";
import type { DriverName } from "../support/store.ts";

const TIMEOUT_MS = 1_500;
/** The tolerance of deadlines on a busy machine. */
const SLACK_MS = 4_000;
const CALLERS = 32;

let own: OwnCluster;

beforeAll(async () => {
  own = await ownCluster();
});

afterAll(() => own.cluster.remove());

interface Answer {
  readonly key: string;
  readonly writes: boolean;
  readonly code: string;
  readonly ms: number;
}

/** A call of one of several kinds, on its own key. */
function callOf(store: Store, key: string, kind: number): Promise<unknown> {
  switch (kind) {
    case 0:
      return store.get(key);
    case 1:
      return store.set(key, 1);
    case 2:
      return store.increment(key, [{ path: ["n"], by: 1 }], { initial: { value: {} } });
    case 3:
      return store.commit([{ key, version: null }], [{ op: "set", key, value: 1 }]);
    case 4:
      return store.list({ prefix: key });
    default:
      return store.forTenant("tn_hung").set(key, 1);
  }
}

async function answerOf(store: Store, key: string, kind: number): Promise<Answer> {
  const start = performance.now();
  const code = (await codeOf(callOf(store, key, kind))).replace(/^no error.*/s, "ok");
  return { key, writes: ![0, 4].includes(kind), code, ms: performance.now() - start };
}

/** Makes calls one after another until `running` is false. */
async function caller(store: Store, name: string, first: number, running: () => boolean): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let i = 0; running(); i++) answers.push(await answerOf(store, `hung:${name}:${i}`, (first + i) % 6));
  return answers;
}

/** Waits until no backend of the application is active: every statement that was sent has completed. */
async function settledServer(): Promise<void> {
  await withClient(own.database.superUrl, async (client) => {
    for (;;) {
      const { rowCount } = await client.query("select from pg_stat_activity where usename <> 'postgres' and state <> 'idle'");
      if (rowCount === 0) return;
      await sleep(20);
    }
  });
}

async function timed<T>(call: Promise<T>): Promise<{ readonly value: T; readonly ms: number }> {
  const start = performance.now();
  const value = await call;
  return { value, ms: performance.now() - start };
}

test.each<DriverName>(["postgres", "supabase"])(
  "K31, O02: %s: while every process of the server is stopped, each call ends by its deadline, and the same store works afterwards",
  async (driver) => {
    const opened = await freshStore({ driver, database: own.database, timeoutMs: TIMEOUT_MS });
    const { store } = opened;
    const closing = opened.another();
    await closing.get("warm:up");
    await store.ping();
    let running = true;
    const callers = Array.from({ length: CALLERS }, (_, i) => caller(store, `${driver}-${i}`, i, () => running));
    await sleep(300);
    const resume = await pauseServer(await own.cluster.postmaster());
    let during: Answer[];
    try {
      await sleep(50);
      const [ping, again, closed, ...fresh] = await Promise.all([
        timed(codeOf(store.ping())),
        timed(sleep(100).then(() => codeOf(store.ping()))),
        timed(closing.close()),
        ...Array.from({ length: CALLERS }, (_, i) => answerOf(store, `hung:${driver}-fresh:${i}`, i % 6)),
      ]);
      expect([ping.value, again.value]).toEqual(["store_unavailable", "store_unavailable"]);
      expect(Math.max(ping.ms, again.ms, closed.ms)).toBeLessThan(2_000 + SLACK_MS);
      expect(fresh.map(({ code }) => code)).not.toContain("ok");
      during = fresh;
      // The callers' next calls try to connect to the stopped server.
      await sleep(TIMEOUT_MS + 500);
    } finally {
      resume();
    }
    await expect.poll(() => store.ping().then(() => "answers", () => "silent"), { timeout: 20_000 }).toBe("answers");
    await sleep(300);
    running = false;
    const answers = [...during, ...(await Promise.all(callers)).flat()];
    await settledServer();

    expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(TIMEOUT_MS + SLACK_MS);
    const codes = (writes: boolean) => [...new Set(answers.filter((answer) => answer.writes === writes).map(({ code }) => code))].sort();
    expect(codes(false)).toEqual(["ok", "store_unavailable"]);
    // A request that was started counts as sent. A connection that was not established does not.
    expect(codes(true).filter((code) => code !== "store_unavailable")).toEqual(["commit_unknown", "ok"]);
    if (driver === "postgres") expect(codes(true)).toContain("store_unavailable");
    const present = new Set<string>();
    for await (const { key } of store.entries({ prefix: "hung", keysOnly: true })) present.add(key);
    const writesWith = (code: string) => answers.filter((answer) => answer.writes && answer.code === code).map(({ key }) => key);
    expect(writesWith("store_unavailable").filter((key) => present.has(key))).toEqual([]);
    expect(writesWith("ok").filter((key) => !present.has(key))).toEqual([]);
    expect(await codeOf(store.set(`hung:${driver}:last`, 1))).toMatch(/^no error/);
    const counts = ["ok", "store_unavailable", "commit_unknown"].map((code) => `${answers.filter((a) => a.code === code).length} ${code}`);
    console.info(`hung server, ${driver}: ${counts.join(", ")}; longest ${Math.round(Math.max(...answers.map(({ ms }) => ms)))} ms`);
    await opened.close();
  },
);
