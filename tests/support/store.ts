import { InnkeepError } from "../../shared/kernel/errors.ts";
import type { ErrorCode } from "../../shared/kernel/errors.ts";
import type { Clock } from "../../shared/kernel/clock.ts";
import type { SqlDriver } from "../../shared/kv/driver.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { supabaseDriver } from "../../shared/kv/drivers/supabase.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Store } from "../../shared/kv/store.ts";
import { freshDatabase } from "./postgres.ts";
import type { TestDatabase } from "./postgres.ts";
import { API_KEYS, startPostgrest } from "./postgrest.ts";
import type { BridgeOptions } from "./postgrest.ts";

export type DriverName = "postgres" | "supabase";

/** A clock that stands still until a test sets or advances it. */
export interface TestClock extends Clock {
  set(iso: string): void;
  advance(ms: number): void;
  /** The current instant of the clock plus `offsetMs`. */
  iso(offsetMs?: number): string;
}

export function testClock(startIso = "2026-03-01T12:00:00.000Z"): TestClock {
  let now = Date.parse(startIso);
  return {
    now: () => now,
    set: (iso) => void (now = Date.parse(iso)),
    advance: (ms) => void (now += ms),
    iso: (offsetMs = 0) => new Date(now + offsetMs).toISOString(),
  };
}

/** A store on a database of its own. */
export interface OpenStore {
  readonly store: Store;
  readonly clock: TestClock;
  readonly database: TestDatabase;
  readonly driver: DriverName;
  /** Another store on the same database with its own connections, like another process. */
  another(options?: { readonly connections?: number }): Store;
  /**
   * Other stores with one open connection each. Opening connections first makes the races real. Every call returns the
   * same ones, because a connection's first statements cost far more than the later ones. The caller does not close them.
   */
  racers(count: number): Promise<Store[]>;
  close(): Promise<void>;
}

export interface FreshStoreOptions {
  readonly driver: DriverName;
  readonly clock?: TestClock;
  readonly database?: TestDatabase;
  readonly bridge?: Partial<BridgeOptions>;
  readonly timeoutMs?: number;
  /** If set, the postgres driver uses this transaction pooler, with unnamed statements. */
  readonly pooler?: { readonly urlOf: (databaseUrl: string) => string };
}

export async function freshStore(options: FreshStoreOptions): Promise<OpenStore> {
  const { driver, clock = testClock(), pooler } = options;
  const limit = options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs };
  const database = options.database ?? await freshDatabase();
  const bridge = driver === "supabase"
    ? await startPostgrest({ databaseUrl: database.authenticatorUrl, poolSize: 50, ...options.bridge })
    : null;
  const opened: Store[] = [];
  const racing: Store[] = [];
  const another: OpenStore["another"] = ({ connections = 4 } = {}) => {
    const sql: SqlDriver = bridge ? supabaseDriver({ url: bridge.url, serviceKey: API_KEYS.serviceKey, ...limit }) : postgresDriver({
      connectionString: pooler ? pooler.urlOf(database.appUrl) : database.appUrl,
      prepare: !pooler,
      max: connections,
      ...limit,
    });
    const store = createStore(sql, { clock });
    opened.push(store);
    return store;
  };
  return {
    store: another(),
    clock,
    database,
    driver,
    another,
    racers: async (count) => {
      while (racing.length < count) racing.push(another({ connections: 1 }));
      const stores = racing.slice(0, count);
      await Promise.all(stores.map((store) => store.get("warm:up")));
      return stores;
    },
    close: async () => {
      await Promise.all(opened.map((store) => store.close()));
      await bridge?.close();
      if (!options.database) await database.drop();
    },
  };
}

/** The code of the InnkeepError that a call fails with, or a text that says what happened instead. */
export async function codeOf(call: Promise<unknown> | (() => unknown)): Promise<ErrorCode | string> {
  try {
    const value = await (typeof call === "function" ? call() : call);
    return `no error, but ${(JSON.stringify(value) ?? "undefined").slice(0, 200)}`;
  } catch (error) {
    return error instanceof InnkeepError ? error.code : `a foreign error: ${String(error)}`;
  }
}
