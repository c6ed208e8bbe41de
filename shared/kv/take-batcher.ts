import { errors } from "../kernel/errors.ts";
import { Batcher, type Outcome, pending } from "./batcher.ts";
import { type Deadline, DEFAULT_TIMEOUT_MS } from "./deadline.ts";
import { type SqlDriver, SqlError, TimeoutFault } from "./driver.ts";
import { isLockTimeout, storeError, withRetries } from "./faults.ts";
import type { Take, Taken } from "./take.ts";

/** A bucket after a call, as `kv_take` returns it. */
interface Bucket {
  readonly had: number;
  readonly more: number;
  readonly tokens: number;
}

type Buckets = Readonly<Record<string, Bucket | null>>;

const MAX_CALLS = 200;
const SLOW_AFTER_MS = 1_000;

/**
 * Sends the calls of one turn, and those that arrive while a statement runs, as one statement. Calls of one bucket are added up. The
 * statement waits for no lock: the calls of a bucket that another transaction has locked are sent again in a statement that does.
 */
export function takeBatcher(driver: SqlDriver): Batcher<Take, Taken> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = driver;
  const limits = {
    slowAfterMs: SLOW_AFTER_MS,
    maxCalls: MAX_CALLS,
    timeoutMs,
    gathers: true,
    expired: (sent: boolean) => storeError(new TimeoutFault(sent, timeoutMs), false),
  };
  const held = new Batcher<Take, Taken>({
    ...limits,
    lanes: 2,
    joins: joinsSameBucket,
    exclusive: ({ key }) => key,
    send: (calls, deadline) => waitForBucket(driver, calls, deadline),
  });
  return new Batcher<Take, Taken>({
    ...limits,
    lanes: 1,
    send: (calls, deadline) => sendTakes(driver, calls, deadline, (call) => held.run(call, deadline)),
  });
}

/** Accepts the calls of one bucket, so that a locked one does not delay others. */
function joinsSameBucket(): (call: Take) => boolean {
  let first: string | undefined;
  return ({ key }) => (first ??= key) === key;
}

async function sendTakes(
  driver: SqlDriver,
  calls: readonly Take[],
  deadline: Deadline,
  later: (call: Take) => Promise<Taken>,
): Promise<Outcome<Taken>[]> {
  try {
    return outcomesOf(calls, await taken(driver, calls, deadline, false), later);
  } catch (error) {
    // Another session creates one of the buckets.
    if (error instanceof SqlError && isLockTimeout(error)) return calls.map((call) => pending(later(call)));
    throw storeError(error, false);
  }
}

/** Throws `write_conflict` if the bucket stays locked. */
async function waitForBucket(driver: SqlDriver, calls: readonly Take[], deadline: Deadline): Promise<Outcome<Taken>[]> {
  try {
    return outcomesOf(calls, await taken(driver, calls, deadline, true));
  } catch (error) {
    throw error instanceof SqlError && isLockTimeout(error) ? errors.writeConflict("the rate limit") : storeError(error, false);
  }
}

async function taken(driver: SqlDriver, calls: readonly Take[], deadline: Deadline, wait: boolean): Promise<Buckets> {
  const takes = mergedTakes(calls);
  return await withRetries(() => driver.call("kv_take", { takes, wait }, deadline), "the rate limit", deadline) as Buckets;
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
export function outcomesOf(calls: readonly Take[], buckets: Buckets, later?: (call: Take) => Promise<Taken>): Outcome<Taken>[] {
  const charged = new Map<string, number>();
  return calls.map((call) => {
    const { key, cost, owed = 0 } = call;
    const bucket = Object.hasOwn(buckets, key) ? buckets[key] : undefined;
    if (bucket === null && later) return pending(later(call));
    if (!bucket) return { ok: false, error: new Error("the database returned no bucket for this call") };
    const before = charged.get(key);
    const sum = (before ?? 0) + owed + cost;
    charged.set(key, sum);
    return { ok: true, value: { granted: bucket.had >= sum, tokens: bucket.tokens, more: before === undefined ? bucket.more : 0 } };
  });
}
