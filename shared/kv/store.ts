import type { JsonObject, JsonValue } from "../kernel/json.ts";
import type { Addition, Check, CommitResult, IncrementOptions, Mutation, WriteOptions } from "./commit.ts";
import type { Condition } from "./condition.ts";
import type { AnyEntity } from "./define.ts";
import type { ParsedRecords } from "./parsed-records.ts";
import type { Take, Taken } from "./take.ts";

export type { Addition, Check, CommitResult, CountCheck, IncrementOptions, Mutation, VersionCheck, WriteOptions } from "./commit.ts";
export type { Condition } from "./condition.ts";

/** The result of `ping`. */
export interface StoreState {
  /** The newest applied migration; null if there is none. */
  readonly migration: string | null;
  /** Indexes and rollups that `npm run migrate` still has to build. */
  readonly pending: readonly string[];
  /** The reason why writes are refused, for example on a standby; null if they are accepted. */
  readonly refusesWrites: string | null;
  /** The server's time, ISO. */
  readonly now: string;
}

/**
 * The store's interface for services and jobs, modelled on Deno KV and FoundationDB, with string keys. Every method rejects with an
 * InnkeepError, such as `invalid_key`, `validation_failed` (a value that cannot be stored, with a JSON Pointer), `payload_too_large`,
 * `store_unavailable` (nothing was written) or `commit_unknown` (the write may have been committed).
 */
export interface Store {
  /** The tenant that this store is bound to; null for the service-level store, which has access to all entries. */
  readonly tenantId: string | null;
  /** Shared by all stores of one database. */
  readonly parsed: ParsedRecords;

  get(key: string): Promise<Entry | null>;
  /** Entries in the order of the keys; null if missing. */
  mget(keys: readonly string[]): Promise<(Entry | null)[]>;
  /** One page of a key range, in byte order of the keys. */
  list(options: ListOptions): Promise<ListPage>;
  /** All entries of a range, read page by page with bounded memory. */
  entries(options: Omit<ListOptions, "cursor" | "limit"> & { readonly pageSize?: number }): AsyncIterable<Entry>;
  /** All values under a prefix in key order, without a limit. */
  getByPrefix(prefix: string): Promise<JsonValue[]>;
  /** The exact number of live entries under a prefix or of an entity, or `upTo` if there are more. Reads no values. */
  count(what: string | CountQuery): Promise<number>;
  /** Filters, searches, sorts and pages in SQL by fields that the entity declares. */
  query(query: Query): Promise<QueryPage>;
  /** Counts and exact decimal sums by group, from the entity's rollup if one covers them. */
  aggregate(query: AggregateQuery): Promise<AggregateRow[]>;
  /** Several of them in one statement, so one snapshot and one round trip. Service level only. */
  readAll<const R extends readonly Read[]>(reads: R): Promise<ReadResults<R>>;

  /** One atomic commit. A failed check or bound is a result, not an error. */
  commit(checks: readonly Check[], mutations: readonly Mutation[]): Promise<CommitResult>;
  set(key: string, value: JsonValue, options?: WriteOptions): Promise<string>;
  mset(pairs: readonly (readonly [key: string, value: JsonValue])[], options?: WriteOptions): Promise<number>;
  /** Returns whether a live entry existed. */
  del(key: string): Promise<boolean>;
  /** Returns the number of live entries that existed. */
  mdel(keys: readonly string[]): Promise<number>;
  /**
   * Adds atomically to one or more numeric paths of one record and returns the record after exactly
   * this call. Null when the key is absent and no `initial` is given.
   */
  increment(key: string, add: readonly Addition[], options?: IncrementOptions): Promise<Incremented | null>;

  /** This store, bound to one tenant by row-level security. */
  forTenant(tenantId: string): Store;
  /** The head of the audit chain of a tenant, or with null of the platform. Null if the chain has no entries. */
  chainHead(scope: string | null): Promise<{ readonly seq: number; readonly hash: string } | null>;
  /** The heads of all audit chains in the order of their scopes, from the one after `after` on. Service level only. */
  chainHeads(options: { readonly after?: string; readonly limit: number }): Promise<ChainHead[]>;
  /** Deletes at most `limit` expired entries, but not those of the tenants in `except`. Returns their number. Service level only. */
  sweep(limit: number, options?: { readonly except?: readonly string[] }): Promise<number>;
  /**
   * Adds up the shards of every rollup into one row a group, so that aggregates read fewer rows. Returns the number of rows that were
   * added up. Service level only.
   */
  foldRollups(): Promise<number>;
  /**
   * Takes entries that are due, so that no other caller gets them until the lease ends: one statement with `for update skip locked`,
   * which waits for no one. Returns them as changed, in the order of their due times. Service level only.
   */
  claim(claim: Claim): Promise<Entry[]>;
  /** Takes tokens from a token bucket, by the server's clock. Concurrent calls share a statement. Service level only. */
  take(take: Take): Promise<Taken>;
  /** Queries the database for its migration, pending builds and whether it accepts writes. */
  ping(): Promise<StoreState>;
  close(): Promise<void>;
}

export interface ChainHead {
  /** The tenant's id; empty for the platform. */
  readonly scope: string;
  readonly seq: number;
  readonly hash: string;
}

export interface Entry<V = JsonValue> {
  readonly key: string;
  readonly value: V;
  /** The versionstamp of its commit, a decimal string that increases per key. It has decimals if a later increment was merged with it. */
  readonly version: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly expiresAt: string | null;
  /** The tenant that the entry belongs to; null for the platform. */
  readonly tenantId: string | null;
}

/** The record after exactly one increment. */
export type Incremented = Pick<Entry<JsonObject>, "key" | "value" | "version">;

/** Selects rows by tenant: one tenant's, the platform's (null), or all ("any"). */
export type Scope = string | null | "any";

export interface ListOptions {
  /** A prefix of whole segments (see `prefixRange`). `start` and `end` narrow it. */
  readonly prefix?: string;
  /** First key, inclusive. */
  readonly start?: string;
  /** Last key, exclusive. */
  readonly end?: string;
  /** Entries per page, 1–500. Default: 100. */
  readonly limit?: number;
  readonly cursor?: string;
  readonly reverse?: boolean;
  /** If true, values are neither read nor transferred, and `value` is null. */
  readonly keysOnly?: boolean;
}

export interface ListPage {
  readonly entries: Entry[];
  /** Null on the last page. The last page is not empty unless the range is. */
  readonly cursor: string | null;
}

export interface Query {
  readonly entity: AnyEntity;
  /** Default: "any". A tenant-bound store returns only rows that its tenant may read. */
  readonly scope?: Scope;
  readonly where?: readonly Condition[];
  /** Case- and accent-insensitive substring over the entity's searchable fields. */
  readonly search?: string;
  /** Nulls last in both directions; the key is always the last sort field. */
  readonly orderBy?: readonly OrderBy[];
  /** 1–500. */
  readonly limit: number;
  /** Opaque. It belongs to its filter and sort; with others it is `invalid_cursor`. */
  readonly cursor?: string;
  /** For numbered pages; at most 100,000. */
  readonly offset?: number;
  readonly withTotal?: boolean;
  /** For the next rows of a sequence: reads the index of the sort field from its range on, whatever the statistics say. */
  readonly walk?: boolean;
}

export interface OrderBy {
  readonly field: string;
  readonly direction: "asc" | "desc";
}

export interface QueryPage extends ListPage {
  readonly total?: number;
}

export interface CountQuery extends Pick<Query, "entity" | "scope" | "where"> {
  /** Where the count ends. */
  readonly upTo?: number;
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
  /** The values of `groupBy` in its order; null if the record has none. */
  readonly group: readonly (string | null)[];
  readonly count: number;
  /** Exact decimal, `"0"` when nothing was summed. */
  readonly sum: string;
}

/** One of several reads. A page has no total. */
export type Read =
  | { readonly query: Query }
  | { readonly count: CountQuery }
  | { readonly aggregate: AggregateQuery };

export type ReadResults<R extends readonly Read[]> = {
  -readonly [I in keyof R]: R[I] extends { readonly query: Query } ? QueryPage
    : R[I] extends { readonly count: CountQuery } ? number
    : AggregateRow[];
};

/** See `Store.claim`. */
export interface Claim {
  readonly entity: AnyEntity;
  /** A time field with an index. An entry is due from that instant on, and never without the field. */
  readonly due: string;
  /** The end of the lease, ISO. It becomes the value of `due`: an entry that nobody releases is then due again. */
  readonly until: string;
  /** Other members to set, such as who holds the lease. */
  readonly set?: JsonObject;
  /** Conditions besides the time. */
  readonly where?: readonly Condition[];
  /** 1–500. */
  readonly limit: number;
  /**
   * The maximum number of entries of one tenant. The first of every tenant precede the second ones, and the platform counts as one
   * tenant. Requires an index on (`@tenantId`, due).
   */
  readonly perTenant?: number;
}

export const LIMITS = {
  valueBytes: 256 * 1024,
  mutationsPerCommit: 1_000,
  commitBytes: 4 * 1024 * 1024,
  pageEntries: 500,
  offset: 100_000,
} as const;
