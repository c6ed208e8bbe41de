import { type Clock, isoTime } from "../kernel/clock.ts";
import { errors, InnkeepError } from "../kernel/errors.ts";
import type { JsonValue } from "../kernel/json.ts";
import { Batches } from "./batches.ts";
import { wireClaim } from "./claim.ts";
import { decodeCursor, encodeCursor, fingerprintOf, invalidCursor } from "./cursor.ts";
import { type Deadline, deadlineIn, DEFAULT_TIMEOUT_MS, PING_TIMEOUT_MS } from "./deadline.ts";
import type { SqlArguments, SqlDriver } from "./driver.ts";
import { conflictOf, storeError, withRetries, withSecondTry } from "./faults.ts";
import { assertKey, isKey, prefixRange, rangeOf } from "./key.ts";
import { assertTenantId, encodeCommit } from "./mutation.ts";
import { ParsedRecords } from "./parsed-records.ts";
import { assertLimit, assertPosition } from "./query-plan.ts";
import { aggregateRead, countRead, pageRead, type WireRead, wireRead } from "./reads.ts";
import { inOrder, toEntry, type WireEntry } from "./row.ts";
import {
  type Addition,
  type AggregateQuery,
  type AggregateRow,
  type ChainHead,
  type Check,
  type Claim,
  type CommitResult,
  type CountQuery,
  type Entry,
  type Incremented,
  type IncrementOptions,
  LIMITS,
  type ListOptions,
  type ListPage,
  type Mutation,
  type Query,
  type QueryPage,
  type Read,
  type ReadResults,
  type Store,
  type StoreState,
  type WriteOptions,
} from "./store.ts";
import { assertTake, type Take, type Taken } from "./take.ts";

/** The store on the SQL functions, for any driver. */
export function createStore(driver: SqlDriver, options: { readonly clock: Clock }): Store {
  return new SqlStore(driver, options.clock, new Batches(driver, options.clock), new ParsedRecords(), null);
}

class SqlStore implements Store {
  constructor(
    private readonly driver: SqlDriver,
    private readonly clock: Clock,
    private readonly batches: Batches,
    readonly parsed: ParsedRecords,
    readonly tenantId: string | null,
  ) {}

  forTenant(tenantId: string): Store {
    assertTenantId(tenantId);
    if (this.tenantId !== null && this.tenantId !== tenantId) {
      throw new InnkeepError("forbidden", "A tenant-bound store cannot be bound again.");
    }
    return new SqlStore(this.driver, this.clock, this.batches, this.parsed, tenantId);
  }

  async get(key: string): Promise<Entry | null> {
    assertKey(key);
    return await this.batches.read({ tenantId: this.tenantId, key });
  }

  async mget(keys: readonly string[]): Promise<(Entry | null)[]> {
    for (const key of keys) assertKey(key);
    const found: (Entry | null)[] = [];
    const deadline = this.#deadline();
    for (let at = 0; at < keys.length; at += LIMITS.pageEntries) {
      const part = keys.slice(at, at + LIMITS.pageEntries);
      const args = this.tenantId === null ? { keys: part } : { tenants: part.map(() => this.tenantId), keys: part };
      const name = this.tenantId === null ? "kv_mget" : "kv_tenant_mget";
      const rows = await this.#read((now) => this.driver.call(name, { ...args, now }, deadline), deadline);
      found.push(...inOrder(part, rows));
    }
    return found;
  }

  async list(options: ListOptions): Promise<ListPage> {
    const limit = options.limit ?? 100;
    assertLimit(limit);
    const { reverse = false, keysOnly = false } = options;
    let { start, end } = rangeOf(options);
    const fingerprint = fingerprintOf([start, end, reverse]);
    if (options.cursor !== undefined) {
      const position = decodeCursor(fingerprint, options.cursor, 1);
      assertPosition([], position);
      const last = String(position[0]);
      // A position outside of the range is forged.
      if (!isKey(last) || last < start || last >= end) throw invalidCursor("is damaged");
      // U+0001 sorts before every character of a key, so this is the first string after `last`.
      if (reverse) end = last;
      else start = `${last}\u0001`;
    }
    const rows =
      (await this.#readSide("list", { start, end, reverse, limit: limit + 1, keys_only: keysOnly }) ?? []) as readonly WireEntry[];
    const entries = rows.slice(0, limit).map(toEntry);
    const last = entries.at(-1);
    return { entries, cursor: rows.length > limit && last ? encodeCursor(fingerprint, [last.key]) : null };
  }

  async *entries(options: Omit<ListOptions, "cursor" | "limit"> & { readonly pageSize?: number }): AsyncGenerator<Entry> {
    let cursor: string | null = null;
    do {
      const page: ListPage = await this.list({
        ...options,
        limit: options.pageSize ?? LIMITS.pageEntries,
        ...(cursor === null ? {} : { cursor }),
      });
      yield* page.entries;
      cursor = page.cursor;
    } while (cursor !== null);
  }

  async getByPrefix(prefix: string): Promise<JsonValue[]> {
    const values: JsonValue[] = [];
    for await (const entry of this.entries({ prefix })) values.push(entry.value);
    return values;
  }

  async count(what: string | CountQuery): Promise<number> {
    if (typeof what === "string") return Number(await this.#readSide("count", { ...prefixRange(what) }));
    return await this.#run(countRead(what, this.tenantId));
  }

  async query(query: Query): Promise<QueryPage> {
    const [page, total] = await Promise.all([
      this.#run(pageRead(query, this.tenantId)),
      query.withTotal ? this.#run(countRead(query, this.tenantId)) : undefined,
    ]);
    return total === undefined ? page : { ...page, total };
  }

  async aggregate(query: AggregateQuery): Promise<AggregateRow[]> {
    const read = aggregateRead(query, this.tenantId);
    return read.rollup ? (await this.readAll([{ aggregate: query }]))[0] : await this.#run(read);
  }

  async readAll<const R extends readonly Read[]>(reads: R): Promise<ReadResults<R>> {
    if (this.tenantId !== null) throw new InnkeepError("forbidden", "A tenant-bound store cannot read all in one statement.");
    const wired = reads.map((read) => wireRead(read));
    const calls = wired.map(({ name, query, rollup }) => ({ [name]: query, ...(rollup ? { rollup } : {}) }));
    const deadline = this.#deadline();
    const found = await this.#read((now) => this.driver.call("kv_read_all", { reads: calls, now }, deadline), deadline) as unknown[];
    return wired.map(({ decode }, i) => decode(found[i])) as ReadResults<R>;
  }

  async commit(checks: readonly Check[], mutations: readonly Mutation[]): Promise<CommitResult> {
    const commit = encodeCommit(checks, mutations, this.tenantId, this.clock.now());
    if (commit.checks.length + commit.mutations.length === 0) return { ok: true, versions: {}, values: {}, deleted: {} };
    const args = { checks: commit.checks, mutations: commit.mutations, now: isoTime(this.clock.now()) };
    const deadline = this.#deadline();
    const run = (lockTimeoutMs: number) => {
      const timed = { ...args, lock_timeout_ms: lockTimeoutMs };
      return this.tenantId === null
        ? this.driver.call("kv_commit", timed, deadline)
        : this.driver.call("kv_tenant_commit", { tenant: this.tenantId, ...timed }, deadline);
    };
    const what = commit.mutations[0]?.key ?? "the commit";
    try {
      return await this.batches.commit((ms) => withRetries(() => run(ms), what, deadline), deadline) as CommitResult;
    } catch (error) {
      const conflict = conflictOf(error);
      if (conflict !== null) return { ok: false, conflict, reason: "version" };
      throw storeError(error, true);
    }
  }

  async set(key: string, value: JsonValue, options: WriteOptions = {}): Promise<string> {
    return (await this.#write({ op: "set", key, value, ...options })).version;
  }

  async mset(pairs: readonly (readonly [key: string, value: JsonValue])[], options: WriteOptions = {}): Promise<number> {
    const result = await this.#must(pairs.map(([key, value]) => ({ op: "set", key, value, ...options })));
    return Object.keys(result.versions).length;
  }

  async del(key: string): Promise<boolean> {
    return await this.mdel([key]) > 0;
  }

  async mdel(keys: readonly string[]): Promise<number> {
    const { deleted } = await this.#must(keys.map((key) => ({ op: "delete", key })));
    return Object.values(deleted).reduce((sum, count) => sum + count, 0);
  }

  async increment(key: string, add: readonly Addition[], options: IncrementOptions = {}): Promise<Incremented | null> {
    const { version, value } = await this.#write({ op: "increment", key, add, ...options });
    return value ? { key, version, value } : null;
  }

  async #write(write: Extract<Mutation, { op: "set" | "increment" }>) {
    const { mutations: [mutation], bytes } = encodeCommit([], [write], this.tenantId, this.clock.now());
    if (!mutation) throw new InnkeepError("internal", "The write contains no mutation.");
    return await this.batches.write({ tenantId: this.tenantId, key: write.key, mutation, bytes, deadline: this.#deadline() });
  }

  async #must(mutations: readonly Mutation[]): Promise<Extract<CommitResult, { ok: true }>> {
    const result = await this.commit([], mutations);
    if (!result.ok) throw errors.writeConflict(result.conflict);
    return result;
  }

  async chainHead(scope: string | null): Promise<{ readonly seq: number; readonly hash: string } | null> {
    const args = { scope: scope ?? "", ...(this.tenantId === null ? {} : { tenant: this.tenantId }) };
    const name = this.tenantId === null ? "kv_chain_head" : "kv_tenant_chain_head";
    const deadline = this.#deadline();
    return await this.#read(() => this.driver.call(name, args, deadline), deadline) as { seq: number; hash: string } | null;
  }

  async chainHeads({ after, limit }: { readonly after?: string; readonly limit: number }): Promise<ChainHead[]> {
    if (this.tenantId !== null) throw new InnkeepError("forbidden", "A tenant-bound store cannot list the chains of all tenants.");
    assertLimit(limit);
    const deadline = this.#deadline();
    return await this.#read(() => this.driver.call("kv_chain_heads", { after: after ?? null, limit }, deadline), deadline) as ChainHead[];
  }

  async sweep(limit: number, { except = [] }: { readonly except?: readonly string[] } = {}): Promise<number> {
    return await this.#maintain("kv_sweep", { limit, except, now: isoTime(this.clock.now()) });
  }

  async foldRollups(): Promise<number> {
    return await this.#maintain("kv_fold_rollups", {});
  }

  async claim(claim: Claim): Promise<Entry[]> {
    if (this.tenantId !== null) throw new InnkeepError("forbidden", "A tenant-bound store cannot claim entries.");
    const deadline = this.#deadline();
    const wire = wireClaim(claim, this.clock.now());
    const call = () => this.driver.call("kv_claim", { claim: wire, now: wire.now }, deadline);
    try {
      const rows = await withRetries(call, claim.entity.name, deadline);
      return ((rows ?? []) as readonly WireEntry[]).map(toEntry);
    } catch (error) {
      throw storeError(error, true);
    }
  }

  async take(take: Take): Promise<Taken> {
    if (this.tenantId !== null) throw new InnkeepError("forbidden", "A tenant-bound store cannot take tokens.");
    assertTake(take);
    return await this.batches.takes.run(take);
  }

  async ping(): Promise<StoreState> {
    const deadline = deadlineIn(PING_TIMEOUT_MS);
    return await this.#read(() => this.driver.ping(deadline), deadline) as StoreState;
  }

  async close(): Promise<void> {
    await this.driver.close();
  }

  async #maintain(name: "kv_sweep" | "kv_fold_rollups", args: SqlArguments): Promise<number> {
    if (this.tenantId !== null) throw new InnkeepError("forbidden", "A tenant-bound store cannot sweep or fold.");
    const deadline = this.#deadline();
    try {
      return Number(await withRetries(() => this.driver.call(name, args, deadline), "the entries", deadline));
    } catch (error) {
      throw storeError(error, true);
    }
  }

  async #run<T>({ name, query, decode }: WireRead<T>): Promise<T> {
    return decode(await this.#readSide(name, { query }));
  }

  /** Calls a read function that exists for the service and for tenants. */
  async #readSide(name: "list" | "count" | "query" | "total" | "aggregate", args: SqlArguments): Promise<unknown> {
    const deadline = this.#deadline();
    return await this.#read(
      (now) =>
        this.tenantId === null
          ? this.driver.call(`kv_${name}`, { ...args, now }, deadline)
          : this.driver.call(`kv_tenant_${name}`, { tenant: this.tenantId, ...args, now }, deadline),
      deadline,
    );
  }

  async #read(run: (now: string) => Promise<unknown>, deadline: Deadline): Promise<unknown> {
    const now = isoTime(this.clock.now());
    try {
      return await withSecondTry(() => run(now), deadline);
    } catch (error) {
      throw storeError(error, false);
    }
  }

  #deadline(): Deadline {
    return deadlineIn(this.driver.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  }
}
