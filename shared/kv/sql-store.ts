import { isoTime } from "../kernel/clock.ts";
import type { Clock } from "../kernel/clock.ts";
import { errors, InnkeepError } from "../kernel/errors.ts";
import type { JsonValue } from "../kernel/json.ts";
import { Flushes } from "./flushes.ts";
import { decodeCursor, encodeCursor, fingerprintOf } from "./cursor.ts";
import { deadlineIn, DEFAULT_TIMEOUT_MS, PING_TIMEOUT_MS } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";
import { SqlError } from "./driver.ts";
import type { SqlArguments, SqlDriver, SqlFunctionName, SqlRow } from "./driver.ts";
import { isForeignRow, storeError, withRetries, withSecondTry } from "./faults.ts";
import { assertKey, prefixRange } from "./key.ts";
import { assertTenantId, encodeCommit } from "./mutation.ts";
import type { WireMutation } from "./mutation.ts";
import { assertPage, assertPosition, declaredType, wireOrder, wirePage, wireRollup, wireSelection } from "./query-plan.ts";
import { toEntry } from "./row.ts";
import { LIMITS } from "./store.ts";
import type {
  Addition,
  AggregateQuery,
  AggregateRow,
  Check,
  CommitResult,
  Entry,
  Incremented,
  IncrementOptions,
  ListOptions,
  ListPage,
  Mutation,
  Query,
  QueryPage,
  Store,
  WriteOptions,
} from "./store.ts";

/** The store over the SQL functions; the same for every driver. */
export function createStore(driver: SqlDriver, options: { readonly clock: Clock }): Store {
  return new SqlStore(driver, options.clock, new Flushes(driver, options.clock), null);
}

class SqlStore implements Store {
  constructor(
    private readonly driver: SqlDriver,
    private readonly clock: Clock,
    private readonly flushes: Flushes,
    readonly tenantId: string | null,
  ) {}

  forTenant(tenantId: string): Store {
    assertTenantId(tenantId);
    if (this.tenantId !== null && this.tenantId !== tenantId) {
      throw new InnkeepError("forbidden", "a tenant-bound store cannot be bound again");
    }
    return new SqlStore(this.driver, this.clock, this.flushes, tenantId);
  }

  async get(key: string): Promise<Entry | null> {
    assertKey(key);
    return await this.flushes.read({ tenantId: this.tenantId, key });
  }

  async mget(keys: readonly string[]): Promise<(Entry | null)[]> {
    for (const key of keys) assertKey(key);
    const found = new Map<string, Entry>();
    const deadline = this.#deadline();
    for (let at = 0; at < keys.length; at += LIMITS.pageEntries) {
      const part = [...new Set(keys.slice(at, at + LIMITS.pageEntries))];
      const rows = this.tenantId === null
        ? await this.#rows("kv_mget", { keys: part }, deadline)
        : await this.#rows("kv_tenant_mget", { tenants: part.map(() => this.tenantId), keys: part }, deadline);
      for (const row of rows) found.set(String(row["key"]), toEntry(row));
    }
    return keys.map((key) => found.get(key) ?? null);
  }

  async list(options: ListOptions): Promise<ListPage> {
    const limit = options.limit ?? 100;
    if (!Number.isInteger(limit) || limit < 1 || limit > LIMITS.pageEntries) {
      throw errors.parameter("limit", `must be 1 to ${LIMITS.pageEntries}`);
    }
    const { reverse = false, keysOnly = false } = options;
    let { start, end } = rangeOf(options);
    const fingerprint = fingerprintOf([start, end, reverse]);
    if (options.cursor !== undefined) {
      const position = decodeCursor(fingerprint, options.cursor, 1);
      assertPosition([], position);
      const last = String(position[0]);
      // U+0001 sorts before every character a key can have: the least string after `last`.
      if (reverse) end = last;
      else start = `${last}\u0001`;
    }
    const rows = await this.#door("list", { start, end, reverse, limit: limit + 1, keys_only: keysOnly });
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

  async count(what: Parameters<Store["count"]>[0]): Promise<number> {
    if (typeof what === "string") return Number(await this.#scalarDoor("count", { ...prefixRange(what) }));
    const rollup = wireRollup({ ...what, groupBy: [] }, this.tenantId);
    if (rollup) return Number((await this.#rows("kv_aggregate", { query: rollup }))[0]?.["count"] ?? 0);
    return Number(await this.#scalarDoor("total", { query: wireSelection(what, this.tenantId) }));
  }

  async query(query: Query): Promise<QueryPage> {
    assertPage(query);
    const selection = wireSelection(query, this.tenantId);
    const order = wireOrder(query.entity, query.orderBy ?? []);
    const fingerprint = fingerprintOf([selection, order]);
    const after = query.cursor === undefined ? {} : { after: decodeCursor(fingerprint, query.cursor, order.length + 1) };
    if (after.after) assertPosition(order, after.after);
    const wire = wirePage(selection, order, { limit: query.limit, offset: query.offset, ...after });
    const { entity, owner, where } = query;
    const [rows, total] = await Promise.all([
      this.#door("query", { query: wire }),
      !query.withTotal
        ? undefined
        : query.search === undefined
        ? this.count({ entity, ...(owner === undefined ? {} : { owner }), ...(where ? { where } : {}) })
        : this.#scalarDoor("total", { query: selection }).then(Number),
    ]);
    const last = rows[query.limit - 1];
    const cursor = rows.length > query.limit && last ? encodeCursor(fingerprint, last["position"] as readonly JsonValue[]) : null;
    return { entries: rows.slice(0, query.limit).map(toEntry), cursor, ...(total === undefined ? {} : { total }) };
  }

  async aggregate(query: AggregateQuery): Promise<AggregateRow[]> {
    for (const field of query.groupBy) declaredType(query.entity, field);
    const rollup = wireRollup(query, this.tenantId);
    const [sum] = query.sum === undefined ? [] : wireOrder(query.entity, [{ field: query.sum, direction: "asc" }]);
    if (sum && sum.type !== "number") throw errors.parameter("sum", "needs a number field");
    const wire = rollup ?? { ...wireSelection(query, this.tenantId), groupBy: query.groupBy, ...(sum ? { sum: sum.column } : {}) };
    const rows = await this.#door("aggregate", { query: wire });
    const groups = rows.map((row) => ({
      group: row["group"] as (string | null)[],
      count: Number(row["count"]),
      sum: query.sum === undefined ? "0" : String(row["sum"]),
    }));
    return groups.length === 0 && query.groupBy.length === 0 ? [{ group: [], count: 0, sum: "0" }] : groups;
  }

  async commit(checks: readonly Check[], mutations: readonly Mutation[]): Promise<CommitResult> {
    const commit = encodeCommit(checks, mutations, this.tenantId, this.clock.now());
    if (commit.checks.length + commit.mutations.length === 0) return { ok: true, versions: {}, values: {}, deleted: {} };
    const args = { checks: commit.checks, mutations: commit.mutations, now: isoTime(this.clock.now()) };
    const deadline = this.#deadline();
    try {
      return await withRetries(() => this.#commitOnce(args, deadline), commit.mutations[0]?.key ?? "the commit", deadline);
    } catch (error) {
      if (this.tenantId !== null && isForeignRow(error)) return await this.#taken(commit.mutations, deadline);
      throw storeError(error, true);
    }
  }

  async #commitOnce(args: SqlArguments, deadline: Deadline): Promise<CommitResult> {
    return await (this.tenantId === null
      ? this.driver.scalar("kv_commit", args, deadline)
      : this.driver.scalar("kv_tenant_commit", { tenant: this.tenantId, ...args }, deadline)) as CommitResult;
  }

  /** A write onto a row this tenant cannot see is the same conflict as a taken key. */
  async #taken(mutations: readonly WireMutation[], deadline: Deadline): Promise<CommitResult> {
    const keys = mutations.flatMap((mutation) => mutation.key !== undefined && mutation.op !== "delete" ? [mutation.key] : []);
    try {
      await this.driver.scalar("kv_tenant_taken", { tenant: this.tenantId, keys, now: isoTime(this.clock.now()) }, deadline);
    } catch (error) {
      if (error instanceof SqlError && error.sqlState === "KV007") {
        return { ok: false, conflict: error.detail || (keys[0] ?? ""), reason: "version" };
      }
      throw storeError(error, false);
    }
    throw errors.writeConflict(keys[0] ?? "the commit");
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
    if (!mutation) throw new InnkeepError("internal", "a write without a mutation");
    return await this.flushes.write({ tenantId: this.tenantId, key: write.key, mutation, bytes });
  }

  async #must(mutations: readonly Mutation[]): Promise<Extract<CommitResult, { ok: true }>> {
    const result = await this.commit([], mutations);
    if (!result.ok) throw errors.writeConflict(result.conflict);
    return result;
  }

  async chainHead(scope: string | null): Promise<{ readonly seq: number; readonly hash: string } | null> {
    const args = { scope: scope ?? "" };
    return await this.#call(
      false,
      (deadline) =>
        this.tenantId === null
          ? this.driver.scalar("kv_chain_head", args, deadline)
          : this.driver.scalar("kv_tenant_chain_head", { tenant: this.tenantId, ...args }, deadline),
    ) as { seq: number; hash: string } | null;
  }

  async sweep(limit: number): Promise<number> {
    if (this.tenantId !== null) throw new InnkeepError("forbidden", "only the service-level store sweeps");
    return Number(
      await this.#call(true, (deadline) => this.driver.scalar("kv_sweep", { limit, now: isoTime(this.clock.now()) }, deadline)),
    );
  }

  async ping(): Promise<{ readonly migration: string | null }> {
    const migration = await this.#call(false, (deadline) => this.driver.ping(deadline), deadlineIn(PING_TIMEOUT_MS));
    return { migration: typeof migration === "string" ? migration : null };
  }

  async close(): Promise<void> {
    await this.driver.close();
  }

  /** One of the read functions that both doors have. */
  async #door(name: "list" | "query" | "aggregate", args: SqlArguments): Promise<SqlRow[]> {
    return this.tenantId === null
      ? await this.#rows(`kv_${name}`, args)
      : await this.#rows(`kv_tenant_${name}`, { tenant: this.tenantId, ...args });
  }

  async #scalarDoor(name: "count" | "total", args: SqlArguments): Promise<unknown> {
    const timed = { ...args, now: isoTime(this.clock.now()) };
    return await this.#call(
      false,
      (deadline) =>
        this.tenantId === null
          ? this.driver.scalar(`kv_${name}`, timed, deadline)
          : this.driver.scalar(`kv_tenant_${name}`, { tenant: this.tenantId, ...timed }, deadline),
    );
  }

  async #rows(name: SqlFunctionName, args: SqlArguments, deadline = this.#deadline()): Promise<SqlRow[]> {
    const timed = { ...args, now: isoTime(this.clock.now()) };
    return await this.#call(false, () => this.driver.rows(name, timed, deadline), deadline);
  }

  #deadline(): Deadline {
    return deadlineIn(this.driver.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  }

  async #call<T>(writing: boolean, run: (deadline: Deadline) => Promise<T>, deadline = this.#deadline()): Promise<T> {
    try {
      return writing ? await run(deadline) : await withSecondTry(() => run(deadline), deadline);
    } catch (error) {
      throw storeError(error, writing);
    }
  }
}

function rangeOf(options: ListOptions): { start: string; end: string } {
  const range = prefixRange(options.prefix ?? "");
  const start = options.start !== undefined && options.start > range.start ? options.start : range.start;
  const end = options.end !== undefined && options.end < range.end ? options.end : range.end;
  return { start, end };
}
