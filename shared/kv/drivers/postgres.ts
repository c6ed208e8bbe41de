import type { Client, ClientConfig, QueryConfig } from "pg";
import { ConnectionPool } from "../connection-pool.ts";
import type { PooledConnection } from "../connection-pool.ts";
import { deadlineIn, DEFAULT_TIMEOUT_MS, PING_TIMEOUT_MS } from "../deadline.ts";
import type { Deadline } from "../deadline.ts";
import { ConnectionFault, SQL_FUNCTIONS, SqlError } from "../driver.ts";
import type { SqlArguments, SqlDriver, SqlFunctionName } from "../driver.ts";

export interface PostgresDriverOptions {
  readonly connectionString: string;
  /** Connections held at most, but for the one of `ping`. */
  readonly max?: number;
  /** A call ends by then, wherever it is: waiting for a connection, making one, or at the server. 15 s when left out. */
  readonly timeoutMs?: number;
  /** A connection that is not made by then fails the call it is made for; at most `timeoutMs`. */
  readonly connectTimeoutMs?: number;
  /** Named prepared statements: true on a direct connection, false behind a transaction pooler. */
  readonly prepare?: boolean;
}

const IDLE_TIMEOUT_MS = 30_000;

/** Calls the SQL functions over a pool of connections. `pg` is loaded with the first call: it costs cold start. */
export function postgresDriver(options: PostgresDriverOptions): SqlDriver {
  const { max = 10, timeoutMs = DEFAULT_TIMEOUT_MS, prepare = true } = options;
  const calls = new LazyPool(options, max, timeoutMs);
  // A connection of its own: it answers while every other one is stuck.
  const pings = new LazyPool(options, 1, PING_TIMEOUT_MS);
  return {
    timeoutMs,
    call: (name, args, deadline = deadlineIn(timeoutMs)) => calls.query(statement(name, args, prepare), deadline),
    ping: (deadline = deadlineIn(PING_TIMEOUT_MS)) => pings.query(statement("kv_ping", {}, prepare), deadline),
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
      // A statement whose caller has gone ends by itself. A stock PgBouncer refuses the parameter at startup.
      ...(prepare ? { statement_timeout: timeoutMs } : {}),
    };
    const open = (closed: () => void) => new PgConnection(new pg.Client(config), closed);
    return new ConnectionPool({ max, timeoutMs, idleTimeoutMs: IDLE_TIMEOUT_MS, open });
  }
}

class PgConnection implements PooledConnection {
  constructor(private readonly client: Client, closed: () => void) {
    // A connection that breaks fails its call, and takes no other.
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

  /** The one value the function returns. */
  async query(query: QueryConfig): Promise<unknown> {
    try {
      return (await this.client.query<{ readonly value: unknown }>(query)).rows[0]?.value;
    } catch (error) {
      // What pg says of a connection that it found broken before it sent anything.
      const sent = !(error instanceof Error && error.message.endsWith("is not queryable"));
      throw sqlErrorOf(error) ?? new ConnectionFault(sent, "the connection was lost", { cause: error });
    }
  }
}

/** `end()` waits for a silent server. pg's types leave out the socket, which pg's own pool destroys by the same path. */
function socketOf(client: Client): { destroy(): void } {
  return (client as unknown as { readonly connection: { readonly stream: { destroy(): void } } }).connection.stream;
}

/** After an error of class 57P (shutdown, terminated) the server closes the connection. */
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
  // Errors of the socket (EPIPE) have five letters too; only the server's carry a severity.
  if (!("severity" in error)) return null;
  const detail = "detail" in error && typeof error.detail === "string" ? error.detail : null;
  return new SqlError(error.code, error.message, detail, { cause: error });
}
