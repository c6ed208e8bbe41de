import type { Deadline } from "./deadline.ts";

/** Calls the SQL functions `public.kv_*`, each of which returns one value. The store (sql-store.ts) is the same for all drivers. */
export interface SqlDriver {
  /** The time limit of a call without a deadline. Default: 15 s. */
  readonly timeoutMs?: number;
  /** Calls a function with named arguments. JSON results are parsed. Rejects with `SqlError` or `ConnectionFault`. */
  call(name: SqlFunctionName, args: SqlArguments, deadline?: Deadline): Promise<unknown>;
  /** Calls `kv_ping` within 2 s, on a connection that other calls do not occupy. */
  ping(deadline?: Deadline): Promise<unknown>;
  close(): Promise<void>;
}

/** A driver that can also read the root keys from Vault. */
export interface VaultDriver extends SqlDriver {
  /** Calls `innkeep_root_keys`, which a database with Vault has. Rejects like `call`. */
  rootKeys(): Promise<unknown>;
}

/** Arguments by parameter name without the prefix `p_`. The driver encodes jsonb arguments. */
export type SqlArguments = Readonly<Record<string, unknown>>;

/** The parameters and types, in order, of every function that a driver may call. */
export const SQL_FUNCTIONS = {
  kv_get: { key: "text", now: "timestamptz" },
  kv_mget: { keys: "text[]", now: "timestamptz" },
  kv_list: { start: "text", end: "text", reverse: "boolean", limit: "integer", keys_only: "boolean", now: "timestamptz" },
  kv_count: { start: "text", end: "text", now: "timestamptz" },
  kv_query: { query: "jsonb", now: "timestamptz" },
  kv_total: { query: "jsonb", now: "timestamptz" },
  kv_aggregate: { query: "jsonb", now: "timestamptz" },
  kv_read_all: { reads: "jsonb", now: "timestamptz" },
  kv_commit: { checks: "jsonb", mutations: "jsonb", lock_timeout_ms: "integer", now: "timestamptz" },
  kv_write_many: { calls: "jsonb", now: "timestamptz" },
  kv_claim: { claim: "jsonb", now: "timestamptz" },
  kv_take: { takes: "jsonb", wait: "boolean" },
  kv_sweep: { limit: "integer", except: "text[]", now: "timestamptz" },
  kv_fold_rollups: {},
  kv_ping: {},
  kv_chain_head: { scope: "text" },
  kv_chain_heads: { after: "text", limit: "integer" },
  kv_tenant_chain_head: { tenant: "text", scope: "text" },
  kv_tenant_mget: { tenants: "text[]", keys: "text[]", now: "timestamptz" },
  kv_tenant_list: {
    tenant: "text",
    start: "text",
    end: "text",
    reverse: "boolean",
    limit: "integer",
    keys_only: "boolean",
    now: "timestamptz",
  },
  kv_tenant_count: { tenant: "text", start: "text", end: "text", now: "timestamptz" },
  kv_tenant_query: { tenant: "text", query: "jsonb", now: "timestamptz" },
  kv_tenant_total: { tenant: "text", query: "jsonb", now: "timestamptz" },
  kv_tenant_aggregate: { tenant: "text", query: "jsonb", now: "timestamptz" },
  kv_tenant_commit: { tenant: "text", checks: "jsonb", mutations: "jsonb", lock_timeout_ms: "integer", now: "timestamptz" },
  kv_tenant_write_many: { calls: "jsonb", now: "timestamptz" },
} as const satisfies Record<string, Readonly<Record<string, SqlType>>>;

export type SqlType = "text" | "text[]" | "boolean" | "integer" | "jsonb" | "timestamptz";
export type SqlFunctionName = keyof typeof SQL_FUNCTIONS;

/** An error of the database. The transaction was rolled back. */
export class SqlError extends Error {
  override readonly name = "SqlError";
  constructor(readonly sqlState: string, message: string, readonly detail: string | null = null, options?: ErrorOptions) {
    super(message, options);
  }
}

/** No response of the database. If `sent` is true, the call may have been executed; if false, it was not. */
export class ConnectionFault extends Error {
  override readonly name: string = "ConnectionFault";
  constructor(readonly sent: boolean, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

/** The call did not complete by its deadline. */
export class TimeoutFault extends ConnectionFault {
  override readonly name = "TimeoutFault";
  constructor(sent: boolean, timeoutMs: number) {
    super(sent, `The database did not respond within ${timeoutMs} ms.`);
  }
}
