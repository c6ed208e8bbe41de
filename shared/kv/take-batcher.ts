import { Batcher, type Outcome } from "./batcher.ts";
import { type Deadline, DEFAULT_TIMEOUT_MS } from "./deadline.ts";
import { type SqlDriver, TimeoutFault } from "./driver.ts";
import { storeError, withRetries } from "./faults.ts";
import type { Take, Taken } from "./take.ts";

/** A bucket after a call, as `kv_take` returns it. */
interface Bucket {
  readonly had: number;
  readonly more: number;
  readonly tokens: number;
}

const MAX_CALLS = 200;
const SLOW_AFTER_MS = 1_000;

/** Sends the calls of one turn, and those that arrive while a statement runs, as one statement. Calls of one bucket are added up. */
export function takeBatcher(driver: SqlDriver): Batcher<Take, Taken> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = driver;
  return new Batcher<Take, Taken>({
    lanes: 1,
    gathers: true,
    slowAfterMs: SLOW_AFTER_MS,
    maxCalls: MAX_CALLS,
    timeoutMs,
    expired: (sent) => storeError(new TimeoutFault(sent, timeoutMs), false),
    send: (calls, deadline) => sendTakes(driver, calls, deadline),
  });
}

async function sendTakes(driver: SqlDriver, calls: readonly Take[], deadline: Deadline): Promise<Outcome<Taken>[]> {
  const takes = mergedTakes(calls);
  try {
    const sent = () => driver.call("kv_take", { takes }, deadline);
    return outcomesOf(calls, await withRetries(sent, "the rate limit", deadline) as Readonly<Record<string, Bucket>>);
  } catch (error) {
    throw storeError(error, false);
  }
}

/** One row for each bucket: the sum of what its calls cost, and the most that one of them wants. */
export function mergedTakes(calls: readonly Take[]) {
  const rows = new Map<string, { key: string; capacity: number; window: number; cost: number; wanted: number }>();
  for (const { key, capacity, windowSeconds, cost, owed = 0, wanted = 0 } of calls) {
    const row = rows.get(key);
    const merged = { key, capacity, window: windowSeconds, cost: owed + cost, wanted };
    rows.set(key, row ? { ...merged, cost: row.cost + merged.cost, wanted: Math.max(row.wanted, wanted) } : merged);
  }
  return [...rows.values()];
}

/** What each call gets, in the order of the calls: one is granted if the bucket had the tokens of it and of those before it. */
export function outcomesOf(calls: readonly Take[], buckets: Readonly<Record<string, Bucket>>): Outcome<Taken>[] {
  const charged = new Map<string, number>();
  return calls.map(({ key, cost, owed = 0 }) => {
    const bucket = Object.hasOwn(buckets, key) ? buckets[key] : undefined;
    if (!bucket) return { ok: false, error: new Error("the database returned no bucket for this call") };
    const before = charged.get(key);
    const sum = (before ?? 0) + owed + cost;
    charged.set(key, sum);
    return { ok: true, value: { granted: bucket.had >= sum, tokens: bucket.tokens, more: before === undefined ? bucket.more : 0 } };
  });
}
