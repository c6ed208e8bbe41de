import { isoTime } from "../kernel/clock.ts";
import type { Clock } from "../kernel/clock.ts";
import { errors } from "../kernel/errors.ts";
import type { JsonObject } from "../kernel/json.ts";
import { Batcher } from "./coalesce.ts";
import type { Outcome } from "./coalesce.ts";
import { DEFAULT_TIMEOUT_MS } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";
import { SqlError, TimeoutFault } from "./driver.ts";
import type { SqlDriver } from "./driver.ts";
import { isForeignRow, isOutage, storeError, withRetries, withSecondTry } from "./faults.ts";
import { joinsWrites, mergeWrites, takeApart } from "./increment.ts";
import type { MergedWrite, WriteCall } from "./increment.ts";
import { toEntry } from "./row.ts";
import type { CommitResult, Entry } from "./store.ts";

interface ReadCall {
  readonly tenantId: string | null;
  readonly key: string;
}

interface Written {
  readonly version: string;
  /** The record after an increment; null where an absent key had no initial value. */
  readonly value: JsonObject | null;
}

const MAX_CALLS = 256;

/** The shared flushes of single-key reads and blind single-key writes. Service and tenant calls never mix. */
export class Flushes {
  readonly #reads: Readonly<Record<"service" | "tenant", Batcher<ReadCall, Entry | null>>>;
  readonly #writes: Readonly<Record<"service" | "tenant", Batcher<WriteCall, Written>>>;

  constructor(private readonly driver: SqlDriver, private readonly clock: Clock) {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = driver;
    const limits = (writing: boolean) => ({
      maxCalls: MAX_CALLS,
      timeoutMs,
      expired: (sent: boolean) => storeError(new TimeoutFault(sent, timeoutMs), writing),
    });
    const reads = () =>
      new Batcher<ReadCall, Entry | null>({ ...limits(false), lanes: 2, flush: (calls, deadline) => this.#read(calls, deadline) });
    const writes = () =>
      new Batcher<WriteCall, Written>({
        ...limits(true),
        lanes: 1,
        joins: joinsWrites,
        flush: (calls, deadline) => this.#write(calls, deadline),
      });
    this.#reads = { service: reads(), tenant: reads() };
    this.#writes = { service: writes(), tenant: writes() };
  }

  read(call: ReadCall): Promise<Entry | null> {
    return this.#reads[call.tenantId === null ? "service" : "tenant"].run(call);
  }

  write(call: WriteCall): Promise<Written> {
    return this.#writes[call.tenantId === null ? "service" : "tenant"].run(call);
  }

  async #read(calls: readonly ReadCall[], deadline: Deadline): Promise<Outcome<Entry | null>[]> {
    const now = isoTime(this.clock.now());
    const pairs = [...new Map(calls.map((call) => [`${call.tenantId ?? ""} ${call.key}`, call])).values()];
    const keys = pairs.map((pair) => pair.key);
    const tenants = pairs.flatMap((pair) => pair.tenantId === null ? [] : [pair.tenantId]);
    try {
      const rows = await withSecondTry(() => {
        if (tenants.length > 0) return this.driver.rows("kv_tenant_mget", { tenants, keys, now }, deadline);
        const [only] = keys;
        return keys.length === 1
          ? this.driver.rows("kv_get", { key: only, now }, deadline)
          : this.driver.rows("kv_mget", { keys, now }, deadline);
      }, deadline);
      const found = new Map(
        rows.map((row) => [`${typeof row["tenant"] === "string" ? row["tenant"] : ""} ${String(row["key"])}`, toEntry(row)]),
      );
      return calls.map((call) => ({ ok: true, value: found.get(`${call.tenantId ?? ""} ${call.key}`) ?? null }));
    } catch (error) {
      throw storeError(error, false);
    }
  }

  async #write(calls: readonly WriteCall[], deadline: Deadline): Promise<Outcome<Written>[]> {
    try {
      return await this.#writeTogether(calls, deadline);
    } catch (error) {
      // One bad call rolled all of them back: each is run on its own and gets its own answer.
      if (error instanceof SqlError && !isOutage(error) && calls.length > 1) return await this.#oneByOne(calls, deadline);
      return calls.map(() => ({ ok: false, error: takenOr(error, calls) }));
    }
  }

  async #writeTogether(calls: readonly WriteCall[], deadline: Deadline): Promise<Outcome<Written>[]> {
    const merged = mergeWrites(calls);
    // Tenants in one order, as every flush takes their locks.
    const tenants = [...new Set(merged.map((write) => write.tenantId))].sort();
    const groups = tenants.map((tenant) => [tenant, merged.filter((write) => write.tenantId === tenant)] as const);
    const now = isoTime(this.clock.now());
    const results = await withRetries(
      () => this.#send(groups.map(([tenant, writes]) => ({ tenant, mutations: writes.map((write) => write.mutation) })), now, deadline),
      calls[0]?.key ?? "the record",
      deadline,
    );
    const outcomes: Outcome<Written>[] = [];
    for (const [i, [, writes]] of groups.entries()) {
      const members = writes.flatMap((write) => write.calls);
      if (results[i]?.ok || members.length === 1) {
        for (const write of writes) for (const [call, outcome] of outcomesOf(write, results[i], calls)) outcomes[call] = outcome;
      } else {
        // One call outside its bounds refused its group, of which nothing was written.
        const own = await this.#oneByOne(calls.filter((_, call) => members.includes(call)), deadline);
        members.toSorted((a, b) => a - b).forEach((call, n) =>
          outcomes[call] = own[n] ?? { ok: false, error: errors.writeConflict("the record") }
        );
      }
    }
    return outcomes;
  }

  async #oneByOne(calls: readonly WriteCall[], deadline: Deadline): Promise<Outcome<Written>[]> {
    const outcomes: Outcome<Written>[] = [];
    for (const call of calls) outcomes.push(...await this.#write([call], deadline));
    return outcomes;
  }

  async #send(
    groups: readonly { tenant: string | null; mutations: readonly unknown[] }[],
    now: string,
    deadline: Deadline,
  ): Promise<readonly CommitResult[]> {
    const [only] = groups;
    if (only?.tenant === null) {
      return [await this.driver.scalar("kv_commit", { checks: [], mutations: only.mutations, now }, deadline) as CommitResult];
    }
    return await this.driver.scalar("kv_tenant_commit_many", { calls: groups, now }, deadline) as CommitResult[];
  }
}

function outcomesOf(write: MergedWrite, result: CommitResult | undefined, calls: readonly WriteCall[]): [number, Outcome<Written>][] {
  if (!result?.ok) return write.calls.map((call) => [call, { ok: false, error: errors.writeConflict(result?.conflict ?? write.key) }]);
  const version = result.versions[write.key] ?? "";
  const final = result.values[write.key] ?? null;
  const values = final && takeApart(final, write.calls.map((call) => calls[call]?.mutation ?? write.mutation));
  return write.calls.map((call, i) => [call, { ok: true, value: { version, value: values?.[i] ?? null } }]);
}

/** A tenant's write onto a row it cannot see is a conflict like any taken key. */
function takenOr(error: unknown, calls: readonly WriteCall[]): unknown {
  const [call] = calls;
  if (call && call.tenantId !== null && isForeignRow(error)) return errors.writeConflict(call.key);
  return storeError(error, true);
}
