import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Store } from "../../shared/kv/store.ts";
import { ownCluster } from "../support/own-cluster.ts";
import type { OwnCluster } from "../support/own-cluster.ts";
import { codeOf, freshStore } from "../support/store.ts";
import type { DriverName } from "../support/store.ts";

let own: OwnCluster;

beforeAll(async () => {
  own = await ownCluster();
});

afterAll(() => own.cluster.remove());

interface Attempt {
  readonly key: string;
  readonly outcome: string;
}

/** Writes one new key after another, singly and in commits, until told to stop. */
async function write(store: Store, writer: string, running: () => boolean): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  for (let i = 0; running(); i++) {
    const key = `load:${writer}:${i}`;
    const call = i % 2 ? store.set(key, i) : store.commit([{ key, version: null }], [{ op: "set", key, value: i }]);
    const outcome = await call.then(() => "ok", (error: { code?: string }) => error.code ?? String(error));
    attempts.push({ key, outcome });
    if (outcome !== "ok") await sleep(10);
  }
  return attempts;
}

test.each<[DriverName, "stop" | "crash"]>([["postgres", "stop"], ["postgres", "crash"], ["supabase", "stop"], ["supabase", "crash"]])(
  "O02: %s: after a %s under load and a restart, the same store works and no acknowledged write is lost",
  async (driver, way) => {
    const opened = await freshStore({ driver, database: own.database });
    const { store } = opened;
    let running = true;
    const writers = Array.from({ length: 16 }, (_, w) => write(store, `${driver}-${way}-${w}`, () => running));
    await sleep(400);
    await own.cluster[way]();
    expect(await codeOf(store.get("load:any"))).toBe("store_unavailable");
    expect(await codeOf(store.set("load:any", 1))).toBe("store_unavailable");
    await sleep(200);
    await own.cluster.start();
    while (await store.ping().then(() => false, () => true)) await sleep(20);
    await sleep(400);
    running = false;
    const attempts = (await Promise.all(writers)).flat();

    const present = new Set<string>();
    for await (const entry of store.entries({ prefix: "load", keysOnly: true })) present.add(entry.key);
    const withOutcome = (outcome: string) => attempts.filter((attempt) => attempt.outcome === outcome).map(({ key }) => key);
    expect(withOutcome("ok").filter((key) => !present.has(key))).toEqual([]);
    expect(withOutcome("store_unavailable").filter((key) => present.has(key))).toEqual([]);
    const foreseen = ["ok", "store_unavailable", "commit_unknown"];
    expect(attempts.filter(({ outcome }) => !foreseen.includes(outcome))).toEqual([]);
    expect(withOutcome("store_unavailable").length).toBeGreaterThan(0);
    expect(attempts.findLast(({ outcome }) => outcome !== "ok")).not.toBe(attempts.at(-1));
    await opened.close();
  },
);
