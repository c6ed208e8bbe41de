import type { Client, ClientConfig, QueryConfig } from "pg";
import { ConnectionPool } from "../connection-pool.ts";
import type { PooledConnection } from "../connection-pool.ts";
import { deadlineIn, DEFAULT_TIMEOUT_MS, PING_TIMEOUT_MS } from "../deadline.ts";
import type { Deadline } from "../deadline.ts";
import { ConnectionFault, SQL_FUNCTIONS, SqlError } from "../driver.ts";
import type { SqlArguments, SqlFunctionName, VaultDriver } from "../driver.ts";

export interface PostgresDriverOptions {
  readonly connectionString: string;
  /** The maximum number of connections, without that of `ping`. Default: 10. */
  readonly max?: number;
  /** The time limit of a call, including waiting for a connection and establishing it. Default: 15 s. */
  readonly timeoutMs?: number;
  /** The time limit of establishing a connection, at most `timeoutMs`. Default: 5 s. */
  readonly connectTimeoutMs?: number;
  /** Whether to use named prepared statements. Must be false behind a transaction pooler. Default: true. */
  readonly prepare?: boolean;
}

const IDLE_TIMEOUT_MS = 30_000;

/** Calls the SQL functions over a connection pool. `pg` is loaded with the first call, which shortens a cold start. */
export function postgresDriver(options: PostgresDriverOptions): VaultDriver {
  const { max = 10, timeoutMs = DEFAULT_TIMEOUT_MS, prepare = true } = options;
  const calls = new LazyPool(options, max, timeoutMs);
  // A separate connection, so that a probe does not wait for calls.
  const pings = new LazyPool(options, 1, PING_TIMEOUT_MS);
  return {
    timeoutMs,
    call: (name, args, deadline = deadlineIn(timeoutMs)) => calls.query(statement(name, args, prepare), deadline),
    ping: (deadline = deadlineIn(PING_TIMEOUT_MS)) => pings.query(statement("kv_ping", {}, prepare), deadline),
    rootKeys: () => calls.query({ text: "select public.innkeep_root_keys() as value" }, deadlineIn(timeoutMs)),
    close: async () => void await Promise.all([calls.close(), pings.close()]),
  };
}

class LazyPool {
  #opening: Promise<ConnectionPool<PgConnection>> | undefined;

  constructor(private readonly options: PostgresDriverOptions, private readonly max: number, private readonly timeoutMs: number) {}

  async query(query: QueryConfig, deadline: Deadline): Promise<unknown> {
    const pool = await (this.#opening ??= this.#open());
    return await pool.run((connection) => connection.query(query), isReusable, deadline);
  }

  async close(): Promise<void> {
    const pool = await this.#opening;
    this.#opening = undefined;
    await pool?.close();
  }

  async #open(): Promise<ConnectionPool<PgConnection>> {
    const { default: pg } = await import("pg");
    const { connectionString, connectTimeoutMs = 5_000, prepare = true } = this.options;
    const { timeoutMs, max } = this;
    const config: ClientConfig = {
      connectionString,
      connectionTimeoutMillis: Math.min(connectTimeoutMs, timeoutMs),
      keepAlive: true,
      // The server cancels a statement whose caller has timed out. A stock PgBouncer refuses this startup parameter.
      ...(prepare ? { statement_timeout: timeoutMs } : {}),
    };
    const open = (closed: () => void) => new PgConnection(new pg.Client(config), closed);
    return new ConnectionPool({ max, timeoutMs, idleTimeoutMs: IDLE_TIMEOUT_MS, open });
  }
}

class PgConnection implements PooledConnection {
  constructor(private readonly client: Client, closed: () => void) {
    // A broken connection rejects its own query and must not be used again.
    client.on("error", closed);
    client.on("end", closed);
  }

  connect(): Promise<unknown> {
    return this.client.connect();
  }

  end(): Promise<unknown> {
    return this.client.end();
  }

  destroy(): void {
    socketOf(this.client).destroy();
  }

  /** The value that the function returns. */
  async query(query: QueryConfig): Promise<unknown> {
    try {
      return (await this.client.query<{ readonly value: unknown }>(query)).rows[0]?.value;
    } catch (error) {
      // pg's error for a connection that was broken before the query was sent.
      const sent = !(error instanceof Error && error.message.endsWith("is not queryable"));
      throw sqlErrorOf(error) ?? new ConnectionFault(sent, "the connection was lost", { cause: error });
    }
  }
}

/** The socket. `end()` would wait for the server; pg's types omit the socket, which pg-pool destroys in the same way. */
function socketOf(client: Client): { destroy(): void } {
  return (client as unknown as { readonly connection: { readonly stream: { destroy(): void } } }).connection.stream;
}

/** Whether the connection can be used after the error. After 57P (shutdown, terminated) the server closes it. */
function isReusable(error: unknown): boolean {
  return error instanceof SqlError && !error.sqlState.startsWith("57P");
}

const TEXTS = new Map<
  SqlFunctionName,
  { readonly text: string; readonly parameters: readonly (readonly [name: string, type: string])[] }
>();

function statement(name: SqlFunctionName, args: SqlArguments, prepare: boolean): QueryConfig {
  let known = TEXTS.get(name);
  if (!known) {
    const parameters = Object.entries(SQL_FUNCTIONS[name]);
    known = { text: `select public.${name}(${parameters.map(([, type], i) => `$${i + 1}::${type}`).join(", ")}) as value`, parameters };
    TEXTS.set(name, known);
  }
  const values = known.parameters.map(([parameter, type]) => type === "jsonb" ? JSON.stringify(args[parameter]) : args[parameter]);
  return prepare ? { name, text: known.text, values } : { text: known.text, values };
}

function sqlErrorOf(error: unknown): SqlError | null {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string" || !/^[0-9A-Z]{5}$/.test(error.code)) return null;
  // Codes of socket errors, such as EPIPE, may also have five letters; only the server's errors have a severity.
  if (!("severity" in error)) return null;
  const detail = "detail" in error && typeof error.detail === "string" ? error.detail : null;
  return new SqlError(error.code, error.message, detail, { cause: error });
}
