import { isoTime } from "../kernel/clock.ts";
import type { Clock } from "../kernel/clock.ts";
import { errors } from "../kernel/errors.ts";
import type { JsonObject } from "../kernel/json.ts";
import { Batcher, pending } from "./batcher.ts";
import type { Outcome } from "./batcher.ts";
import { type Deadline, DEFAULT_TIMEOUT_MS } from "./deadline.ts";
import { type SqlDriver, SqlError, TimeoutFault } from "./driver.ts";
import { conflictOf, isLockTimeout, isOutage, storeError, withRetries, withSecondTry } from "./faults.ts";
import { joinsSameKey, joinsWrites, mergeWrites, takeApart } from "./increment.ts";
import type { MergedWrite, WriteCall } from "./increment.ts";
import { inOrder } from "./row.ts";
import type { CommitResult, Entry } from "./store.ts";
import { takeBatcher } from "./take-batcher.ts";

interface ReadCall {
  readonly tenantId: string | null;
  readonly key: string;
}

interface Written {
  readonly version: string;
  /** The record after an increment; null if the key was absent and had no initial value. */
  readonly value: JsonObject | null;
}

/** What `kv_write_many` returns, by key. */
interface WroteMany {
  readonly versions: Readonly<Record<string, string>>;
  readonly values: Readonly<Record<string, JsonObject | null>>;
  readonly faults: Readonly<Record<string, { readonly fault: string; readonly message?: string | null; readonly detail?: string | null }>>;
}

/** The maximum number of calls in a batch. Each row that it creates takes an advisory lock, and the lock table is limited. */
const MAX_CALLS = 200;

/** The lock timeout of a commit that has found a lock held. */
const LOCK_TIMEOUT_MS = 5_000;
/** The lock timeout of the first attempt. Calls that exceed it continue in separate lanes. */
const SHORT_LOCK_TIMEOUT_MS = 100;

/** Batches do not wait for locks and take milliseconds. A slower batch is on a hung connection. */
const SLOW_AFTER_MS = 1_000;

type Side = "service" | "tenant";
type Both<T> = Readonly<Record<Side, T>>;

/**
 * Batches single-key reads and unchecked single-key writes of many callers. Service and tenant calls are never in one batch. A batch
 * of writes does not wait for locks: a write that would wait is sent again as a separate commit.
 */
export class Batches {
  readonly #reads: Both<Batcher<ReadCall, Entry | null>>;
  readonly #writes: Both<Batcher<WriteCall, Written>>;
  /** Writes to locked keys: with the short lock timeout, then with the long one. */
  readonly #busy: Batcher<WriteCall, Written>;
  readonly #stuck: Batcher<WriteCall, Written>;
  /** Commits with the short lock timeout, then with the long one in fewer lanes, so that lock waits do not occupy the pool. */
  readonly #commits: Batcher<() => Promise<unknown>, unknown>;
  readonly #held: Batcher<() => Promise<unknown>, unknown>;

  readonly takes: ReturnType<typeof takeBatcher>;

  constructor(private readonly driver: SqlDriver, private readonly clock: Clock) {
    this.takes = takeBatcher(driver);
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = driver;
    const limits = (writing: boolean) => ({
      maxCalls: MAX_CALLS,
      timeoutMs,
      expired: (sent: boolean) => storeError(new TimeoutFault(sent, timeoutMs), writing),
    });
    const reads = () =>
      new Batcher<ReadCall, Entry | null>({
        ...limits(false),
        lanes: 2,
        gathers: true,
        slowAfterMs: SLOW_AFTER_MS,
        send: (calls, by) => this.#read(calls, by),
      });
    // One batch at a time, except for slow ones. A key is never in two batches.
    const writes = () =>
      new Batcher<WriteCall, Written>({
        ...limits(true),
        lanes: 1,
        slowAfterMs: SLOW_AFTER_MS,
        joins: joinsWrites,
        exclusive: keyOf,
        send: (calls, by) => this.#write(calls, by),
      });
    this.#reads = { service: reads(), tenant: reads() };
    this.#writes = { service: writes(), tenant: writes() };
    // One key per batch and one batch per key, so that a locked key does not delay others.
    const commits = (lanes: number, lockTimeoutMs: number) =>
      new Batcher<WriteCall, Written>({
        ...limits(true),
        lanes,
        joins: joinsSameKey,
        exclusive: keyOf,
        send: (calls, by) => this.#commit(calls, lockTimeoutMs, by),
      });
    this.#busy = commits(4, SHORT_LOCK_TIMEOUT_MS);
    this.#stuck = commits(2, LOCK_TIMEOUT_MS);
    const single = (lanes: number) =>
      new Batcher<() => Promise<unknown>, unknown>({
        ...limits(true),
        lanes,
        maxCalls: 1,
        endsItself: true,
        send: (runs) => Promise.all(runs.map(async (run) => ({ ok: true as const, value: await run() }))),
      });
    this.#commits = single(6);
    this.#held = single(2);
  }

  read(call: ReadCall): Promise<Entry | null> {
    return this.#reads[sideOf(call)].run(call);
  }

  write(call: WriteCall): Promise<Written> {
    return this.#writes[sideOf(call)].run(call, call.deadline);
  }

  /** Runs a commit with the short lock timeout. If a lock is held, runs it again with the long one, beside few others. */
  async commit<T>(run: (lockTimeoutMs: number) => Promise<T>, deadline: Deadline): Promise<T> {
    try {
      return await this.#commits.run(() => run(SHORT_LOCK_TIMEOUT_MS), deadline) as T;
    } catch (error) {
      if (!(error instanceof SqlError) || !isLockTimeout(error)) throw error;
      return await this.#held.run(() => run(LOCK_TIMEOUT_MS), deadline) as T;
    }
  }

  async #read(calls: readonly ReadCall[], deadline: Deadline): Promise<Outcome<Entry | null>[]> {
    const now = isoTime(this.clock.now());
    const tenants = calls.flatMap(({ tenantId }) => tenantId ?? []);
    const asked = calls.map(({ key }) => key);
    // Requests of one caller all ask for its record; a tenant's keys belong to their positions.
    const keys = tenants.length > 0 ? asked : [...new Set(asked)];
    try {
      const found = await withSecondTry(async () => {
        if (tenants.length > 0) return await this.driver.call("kv_tenant_mget", { tenants, keys, now }, deadline);
        if (keys.length > 1) return await this.driver.call("kv_mget", { keys, now }, deadline);
        const entry = await this.driver.call("kv_get", { key: keys[0], now }, deadline);
        return entry && [entry];
      }, deadline);
      return inOrder(asked, found).map((value) => ({ ok: true, value }));
    } catch (error) {
      throw storeError(error, false);
    }
  }

  async #write(calls: readonly WriteCall[], deadline: Deadline): Promise<Outcome<Written>[]> {
    const merged = mergeWrites(calls);
    const name = calls[0]?.tenantId === null ? "kv_write_many" : "kv_tenant_write_many";
    const sent = merged.map(({ tenantId, mutation }) => tenantId === null ? mutation : { ...mutation, tenant: tenantId });
    const args = { calls: sent, now: isoTime(this.clock.now()) };
    let wrote: WroteMany;
    try {
      wrote = await withRetries(() => this.driver.call(name, args, deadline), calls[0]?.key ?? "the record", deadline) as WroteMany;
    } catch (error) {
      // Another session holds a lock: each call is sent again with those of its key, and waits.
      if (error instanceof SqlError && isLockTimeout(error)) return calls.map((call) => this.#later(call));
      // An unexpected error of one call: the batch is halved until only that call fails.
      if (error instanceof SqlError && !isOutage(error) && merged.length > 1) {
        const half = calls.length >> 1;
        return [...await this.#write(calls.slice(0, half), deadline), ...await this.#write(calls.slice(half), deadline)];
      }
      return calls.map(() => ({ ok: false, error: storeError(error, true) }));
    }
    return spread(calls, merged, (write) => this.#outcomes(write, calls, wrote));
  }

  #outcomes(write: MergedWrite, calls: readonly WriteCall[], wrote: WroteMany): Outcome<Written>[] {
    const fault = own(wrote.faults, write.key);
    if (fault?.fault === "commit") return write.calls.map((at) => this.#alone(calls[at] as WriteCall));
    // The sum of several calls may be out of bounds although each call is within them.
    if (fault && (fault.fault === "busy" || write.calls.length > 1)) {
      return write.calls.map((at) => this.#later(calls[at] as WriteCall));
    }
    if (fault?.fault === "bounds") return [{ ok: false, error: errors.writeConflict(write.key) }];
    if (fault) return [{ ok: false, error: storeError(new SqlError(fault.fault, fault.message ?? "", fault.detail ?? null), true) }];
    return written(write, calls, wrote);
  }

  #later(call: WriteCall): Outcome<Written> {
    return pending(this.#busy.run(call, call.deadline));
  }

  /** Sends the write as a commit. */
  #alone(call: WriteCall): Outcome<Written> {
    const { deadline } = call;
    const value = this.commit((lockTimeoutMs) => this.#commitOne(alone(call), lockTimeoutMs, deadline), deadline).then((result) => {
      const [outcome] = result.ok ? written(alone(call), [call], result) : [];
      if (outcome?.ok) return outcome.value;
      throw errors.writeConflict(call.key);
    }, (error: unknown) => {
      throw storeError(error, true);
    });
    return pending(value);
  }

  /** Sends calls of one key as one commit. If it is refused, sends each call separately. */
  async #commit(calls: readonly WriteCall[], lockTimeoutMs: number, deadline: Deadline): Promise<Outcome<Written>[]> {
    const [write] = mergeWrites(calls);
    if (!write) return [];
    try {
      const result = await this.#commitOne(write, lockTimeoutMs, deadline);
      if (result.ok) return written(write, calls, result);
      if (calls.length === 1) return [{ ok: false, error: errors.writeConflict(write.key) }];
    } catch (error) {
      if (error instanceof SqlError && isLockTimeout(error) && lockTimeoutMs < LOCK_TIMEOUT_MS) {
        return calls.map((call) => pending(this.#stuck.run(call, call.deadline)));
      }
      const foreign = conflictOf(error);
      if (foreign !== null) return calls.map(() => ({ ok: false, error: errors.writeConflict(foreign) }));
      if (calls.length === 1 || !(error instanceof SqlError) || isOutage(error)) {
        return calls.map(() => ({ ok: false, error: storeError(error, true) }));
      }
    }
    const outcomes: Outcome<Written>[] = [];
    for (const call of calls) outcomes.push(...await this.#commit([call], lockTimeoutMs, deadline));
    return outcomes;
  }

  async #commitOne({ tenantId, key, mutation }: MergedWrite, lockTimeoutMs: number, deadline: Deadline): Promise<CommitResult> {
    const args = { checks: [], mutations: [mutation], lock_timeout_ms: lockTimeoutMs, now: isoTime(this.clock.now()) };
    return await withRetries(
      () =>
        tenantId === null
          ? this.driver.call("kv_commit", args, deadline)
          : this.driver.call("kv_tenant_commit", { tenant: tenantId, ...args }, deadline),
      key,
      deadline,
    ) as CommitResult;
  }
}

function keyOf({ tenantId, key }: WriteCall): string {
  return `${tenantId ?? ""} ${key}`;
}

function alone({ tenantId, key, mutation }: WriteCall): MergedWrite {
  return { tenantId, key, mutation, calls: [0] };
}

function sideOf({ tenantId }: { readonly tenantId: string | null }): Side {
  return tenantId === null ? "service" : "tenant";
}

/** The outcomes of merged writes, in the order of their calls. */
function spread(
  calls: readonly WriteCall[],
  merged: readonly MergedWrite[],
  outcomesOf: (write: MergedWrite) => readonly Outcome<Written>[],
): Outcome<Written>[] {
  const outcomes = new Array<Outcome<Written>>(calls.length);
  for (const write of merged) {
    const own = outcomesOf(write);
    write.calls.forEach((at, i) => outcomes[at] = own[i] ?? { ok: false, error: errors.writeConflict(write.key) });
  }
  return outcomes;
}

/** The result of each call of a merged write. */
function written(
  { key, mutation, calls: positions }: MergedWrite,
  calls: readonly WriteCall[],
  { versions, values }: Pick<WroteMany, "versions" | "values">,
): Outcome<Written>[] {
  const final = own(values, key) ?? null;
  const results = final && takeApart(final, positions.map((at) => calls[at]?.mutation ?? mutation));
  const version = own(versions, key) ?? "";
  const last = positions.length - 1;
  const before = version === "" || last === 0 ? null : BigInt(version) - 1n;
  return positions.map((_, i) => (
    { ok: true, value: { version: i < last ? versionAfter(before, i + 1) : version, value: results?.[i] ?? null } }
  ));
}

/**
 * The version after the first `calls` calls of a merged write, from the number before the stored version. It is greater than the
 * previous version and less than the stored one, so a check against it always fails.
 */
function versionAfter(before: bigint | null, calls: number): string {
  return before === null ? "" : `${before}.${String(calls).padStart(3, "0")}`;
}

/** The record's own member: a key may be `constructor`. */
function own<T>(record: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
