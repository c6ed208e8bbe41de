import type { Deadline } from "./deadline.ts";

/**
 * What a driver is: a thin caller of the SQL functions `public.kv_*`, each of which returns one value. The
 * store (sql-store.ts) is written once over this; a driver only carries a call there and its result or error back.
 */
export interface SqlDriver {
  /** How long a caller waits; 15 s when left out. A call without a deadline of its own has this one. */
  readonly timeoutMs?: number;
  /** Calls one function with its named arguments; json comes back parsed. */
  call(name: SqlFunctionName, args: SqlArguments, deadline?: Deadline): Promise<unknown>;
  /** Calls `kv_ping` on a connection of its own, within 2 s. */
  ping(deadline?: Deadline): Promise<unknown>;
  close(): Promise<void>;
}

/** Keys are parameter names without the `p_`. jsonb arguments are plain values: the driver encodes them. */
export type SqlArguments = Readonly<Record<string, unknown>>;

/** Argument names and types, in order, of every function a driver may call. */
export const SQL_FUNCTIONS = {
  kv_get: { key: "text", now: "timestamptz" },
  kv_mget: { keys: "text[]", now: "timestamptz" },
  kv_list: { start: "text", end: "text", reverse: "boolean", limit: "integer", keys_only: "boolean", now: "timestamptz" },
  kv_count: { start: "text", end: "text", now: "timestamptz" },
  kv_query: { query: "jsonb", now: "timestamptz" },
  kv_total: { query: "jsonb", now: "timestamptz" },
  kv_aggregate: { query: "jsonb", now: "timestamptz" },
  kv_commit: { checks: "jsonb", mutations: "jsonb", lock_timeout_ms: "integer", now: "timestamptz" },
  kv_write_many: { calls: "jsonb", now: "timestamptz" },
  kv_sweep: { limit: "integer", now: "timestamptz" },
  kv_ping: {},
  kv_chain_head: { scope: "text" },
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

/** The database answered with an error: whatever it was part of is rolled back. */
export class SqlError extends Error {
  override readonly name = "SqlError";
  constructor(readonly sqlState: string, message: string, readonly detail: string | null = null, options?: ErrorOptions) {
    super(message, options);
  }
}

/** The database did not answer. `sent` tells whether the call may have reached it; false: it never will. */
export class ConnectionFault extends Error {
  override readonly name: string = "ConnectionFault";
  constructor(readonly sent: boolean, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

/** The call was not done by its deadline and was given up. */
export class TimeoutFault extends ConnectionFault {
  override readonly name = "TimeoutFault";
  constructor(sent: boolean, timeoutMs: number) {
    super(sent, `The database did not answer within ${timeoutMs} ms.`);
  }
}
