import type { JsonObject, JsonValue } from "../kernel/json.ts";
import type { AnyEntity } from "./define.ts";

/** What `ping` finds. */
export interface StoreState {
  /** Our newest migration; null where there is none. */
  readonly migration: string | null;
  /** What `npm run migrate` has still to build. */
  readonly pending: readonly string[];
  /** Why every write is refused, for instance on a standby; null: writes are accepted. */
  readonly refusesWrites: string | null;
}

/**
 * The port of the store: everything above it (services, jobs) sees only this. Shape after Deno KV and
 * FoundationDB, on string keys. Every method rejects with an InnkeepError: `invalid_key`,
 * `validation_failed` (a value the store cannot hold, with a JSON Pointer), `payload_too_large`,
 * `store_unavailable` (nothing was written) or `commit_unknown` (it may have been).
 */
export interface Store {
  /** The tenant this store is bound to, or null for the service-level store, which sees everything. */
  readonly tenantId: string | null;

  get(key: string): Promise<Entry | null>;
  /** Entries in the order asked, null where missing. */
  mget(keys: readonly string[]): Promise<(Entry | null)[]>;
  /** One page of a key range, in byte order of the keys. */
  list(options: ListOptions): Promise<ListPage>;
  /** All entries of a range, page by page; memory stays flat. */
  entries(options: Omit<ListOptions, "cursor" | "limit"> & { readonly pageSize?: number }): AsyncIterable<Entry>;
  /** Every value under a prefix, in key order, paged inside, no cap. */
  getByPrefix(prefix: string): Promise<JsonValue[]>;
  /** Exact number of live entries under a prefix, or of one entity; reads no values. */
  count(what: string | { readonly entity: AnyEntity; readonly scope?: Scope; readonly where?: readonly Condition[] }): Promise<number>;
  /** Filter, search, sort and page over fields the entity declares, pushed down to SQL. */
  query(query: Query): Promise<QueryPage>;
  /** Counts and exact decimal sums by group, from the entity's rollup where one covers it, else in SQL. */
  aggregate(query: AggregateQuery): Promise<AggregateRow[]>;

  /** One atomic commit: all or nothing. A failed check or bound is an answer, not an error. */
  commit(checks: readonly Check[], mutations: readonly Mutation[]): Promise<CommitResult>;
  set(key: string, value: JsonValue, options?: WriteOptions): Promise<string>;
  mset(pairs: readonly (readonly [key: string, value: JsonValue])[], options?: WriteOptions): Promise<number>;
  /** Whether a live entry was there. */
  del(key: string): Promise<boolean>;
  /** How many live entries were there. */
  mdel(keys: readonly string[]): Promise<number>;
  /**
   * Adds atomically to one or more numeric paths of one record and returns the record after exactly
   * this call. Null when the key is absent and no `initial` is given.
   */
  increment(key: string, add: readonly Addition[], options?: IncrementOptions): Promise<Incremented | null>;

  /** The same store bound to one tenant; the database enforces it (row-level security). */
  forTenant(tenantId: string): Store;

  /** Where the audit chain of a scope stands (null: the platform's); null when it has no entry. */
  chainHead(scope: string | null): Promise<{ readonly seq: number; readonly hash: string } | null>;
  /** Removes the bytes of expired entries, at most `limit`; returns how many went. Service level only. */
  sweep(limit: number): Promise<number>;
  /** Asks the database for a sign of life: its newest migration (null: none), and what `npm run migrate` has still to build. */
  ping(): Promise<StoreState>;
  close(): Promise<void>;
}

export interface Entry<V = JsonValue> {
  readonly key: string;
  readonly value: V;
  /** Versionstamp of its commit: a decimal string, strictly increasing per key; with decimals where a later increment was written with it. */
  readonly version: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly expiresAt: string | null;
  /** The tenant that sees the row; null is the platform. */
  readonly tenantId: string | null;
}

/** The record after exactly one increment. */
export type Incremented = Pick<Entry<JsonObject>, "key" | "value" | "version">;

/** Whose rows: a tenant's, the platform's (null), every tenant's and the platform's ("any"). */
export type Scope = string | null | "any";

export interface ListOptions {
  /** A prefix of whole segments (see `prefixRange`). `start`/`end` narrow it and can never leave it. */
  readonly prefix?: string;
  /** First key, inclusive. */
  readonly start?: string;
  /** Key to stop before, exclusive. */
  readonly end?: string;
  /** 1–500 entries a page, 100 when left out. */
  readonly limit?: number;
  readonly cursor?: string;
  readonly reverse?: boolean;
  /** No values are read or transferred: `value` is null. */
  readonly keysOnly?: boolean;
}

export interface ListPage {
  readonly entries: Entry[];
  /** Null on the last page; never an empty last page. */
  readonly cursor: string | null;
}

/** `field` is a declared field; several values mean any of them. Times and numbers may be a range. */
export type Condition =
  | { readonly field: string; readonly in: readonly (string | number | boolean)[] }
  | { readonly field: string; readonly from?: string | number; readonly to?: string | number }
  /** Text beginning with `prefix`, for dotted names such as audit actions. */
  | { readonly field: string; readonly prefix: string };

export interface Query {
  readonly entity: AnyEntity;
  /** Left out: all of the entity's records ("any"). A tenant-bound store sees its own rows whatever is asked. */
  readonly scope?: Scope;
  readonly where?: readonly Condition[];
  /** Case- and accent-insensitive substring over the entity's searchable fields. */
  readonly search?: string;
  /** Nulls last in both directions; the key is always the last sort field. */
  readonly orderBy?: readonly OrderBy[];
  /** 1–500. */
  readonly limit: number;
  /** Opaque, bound to filter and sort; another query's is `invalid_cursor`. */
  readonly cursor?: string;
  /** For the page form only; at most 100,000. */
  readonly offset?: number;
  readonly withTotal?: boolean;
}

export interface OrderBy {
  readonly field: string;
  readonly direction: "asc" | "desc";
}

export interface QueryPage extends ListPage {
  readonly total?: number;
}

export interface AggregateQuery {
  readonly entity: AnyEntity;
  readonly scope?: Scope;
  readonly where?: readonly Condition[];
  readonly groupBy: readonly string[];
  /** A declared number field; the sum is an exact decimal string. */
  readonly sum?: string;
}

export interface AggregateRow {
  /** The values of `groupBy`, in its order; null where the record has none. */
  readonly group: readonly (string | null)[];
  readonly count: number;
  /** Exact decimal, `"0"` when nothing was summed. */
  readonly sum: string;
}

/**
 * The key must have this version; null means it must be absent (or expired). It holds until the commit, except that a
 * tenant-bound store's check of a platform record holds against commits, not against a plain `set` or `increment` of it.
 */
export interface Check {
  readonly key: string;
  readonly version: string | null;
}

export interface WriteOptions {
  /** ISO instant; at it the entry is gone. Not after the clock's now: `invalid_ttl`. */
  readonly expiresAt?: string | null;
  /** Left out: derived by the database from the key's declared family, else the bound tenant, else the platform. */
  readonly tenantId?: string | null;
  /** Whether the row goes with its tenant. Left out: as its family declares, else true. */
  readonly cascades?: boolean;
}

/** Adds `by` to the number at `path` (0 when missing), or sets it `to` a value: a gauge. */
export type Addition =
  & {
    readonly path: readonly string[];
    /** The commit is refused (`conflict`, reason "bounds") when the result would leave these. */
    readonly min?: number;
    readonly max?: number;
  }
  & ({ readonly by: number; readonly to?: never } | { readonly to: number; readonly by?: never });

export interface IncrementOptions {
  /** Stored first when the key is absent; the additions then apply to it. */
  readonly initial?: { readonly value: JsonObject } & WriteOptions;
  /** Top-level members to set in the same step, e.g. `updatedAt`. */
  readonly merge?: JsonObject;
}

export type Mutation =
  /** `receipt`: the value, an object, gets this member, with `values` and `deleted` of the commit's result. */
  | ({ readonly op: "set"; readonly key: string; readonly value: JsonValue; readonly receipt?: boolean } & WriteOptions)
  | { readonly op: "delete"; readonly key: string }
  | ({ readonly op: "increment"; readonly key: string; readonly add: readonly Addition[] } & IncrementOptions)
  /** Appends to the array at `path` (made when missing), keeping the last `cap` items. */
  | ({
    readonly op: "append";
    readonly key: string;
    readonly path: readonly string[];
    readonly items: readonly JsonValue[];
    readonly cap?: number;
  } & IncrementOptions)
  /** Everything under a prefix of whole segments, in one statement. */
  | { readonly op: "deletePrefix"; readonly prefix: string }
  /** The cascade: everything the tenant owns that goes with it; the id is never accepted again. Service level only. */
  | { readonly op: "deleteOwner"; readonly tenantId: string };

export type CommitResult =
  | {
    readonly ok: true;
    /** Version of every key written, by key: the same one, as they were written together. */
    readonly versions: Readonly<Record<string, string>>;
    /** The records after `increment` and `append`, by key; null where an absent key had no `initial`. */
    readonly values: Readonly<Record<string, JsonObject | null>>;
    /** Live entries that went, by entity; by the first segment of their key where that is undeclared. */
    readonly deleted: Readonly<Record<string, number>>;
  }
  | { readonly ok: false; readonly conflict: string; readonly reason: "version" | "bounds" };

export const LIMITS = {
  valueBytes: 256 * 1024,
  mutationsPerCommit: 1_000,
  commitBytes: 4 * 1024 * 1024,
  pageEntries: 500,
  offset: 100_000,
} as const;
