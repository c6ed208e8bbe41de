import type { Pool, PoolClient } from "pg";
import { ConnectionFault, SQL_FUNCTIONS, SqlError } from "../driver.ts";
import type { SqlArguments, SqlDriver, SqlFunctionName, SqlRow } from "../driver.ts";

export interface PostgresDriverOptions {
  readonly connectionString: string;
  /** Connections held at most. */
  readonly max?: number;
  readonly statementTimeoutMs?: number;
  readonly connectTimeoutMs?: number;
  /** Named prepared statements: true on a direct connection, false behind a transaction pooler. */
  readonly prepare?: boolean;
}

/** Times stay text: the store cuts them itself (row.ts). */
const TIMESTAMPTZ = 1184;

/** Calls the SQL functions over a pool of connections. `pg` is loaded with the first call: it costs cold start. */
export function postgresDriver(options: PostgresDriverOptions): SqlDriver {
  let opening: Promise<Pool> | undefined;
  const open = async (): Promise<Pool> => {
    const { default: pg } = await import("pg");
    const pool = new pg.Pool({
      connectionString: options.connectionString,
      max: options.max ?? 10,
      connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
      statement_timeout: options.statementTimeoutMs ?? 30_000,
      idleTimeoutMillis: 30_000,
      keepAlive: true,
      types: { getTypeParser: (oid, format) => oid === TIMESTAMPTZ ? String : pg.types.getTypeParser(oid, format) },
    });
    // An idle connection that breaks has no call to fail; the pool drops it and the next call opens another.
    pool.on("error", () => undefined);
    // One that breaks during a call fails that call; its own event, unheard, would end the process.
    pool.on("connect", (client) => client.on("error", () => undefined));
    return pool;
  };
  const call = async (name: SqlFunctionName, args: SqlArguments): Promise<SqlRow[]> => {
    let client: PoolClient;
    try {
      client = await (await (opening ??= open())).connect();
    } catch (error) {
      throw new ConnectionFault(false, "the database cannot be reached", { cause: error });
    }
    let broken = false;
    try {
      const { rows } = await client.query<SqlRow>(statement(name, args, options.prepare ?? true));
      return rows;
    } catch (error) {
      const sqlError = sqlErrorOf(error);
      broken = !sqlError || sqlError.sqlState.startsWith("57P");
      throw sqlError ?? new ConnectionFault(true, "the connection was lost", { cause: error });
    } finally {
      client.release(broken);
    }
  };
  return {
    rows: call,
    scalar: async (name, args) => (await call(name, args))[0]?.[name],
    close: async () => {
      const pool = await opening;
      opening = undefined;
      await pool?.end();
    },
  };
}

const TEXTS = new Map<
  SqlFunctionName,
  { readonly text: string; readonly parameters: readonly (readonly [name: string, type: string])[] }
>();

function statement(name: SqlFunctionName, args: SqlArguments, prepare: boolean) {
  let known = TEXTS.get(name);
  if (!known) {
    const parameters = Object.entries(SQL_FUNCTIONS[name]);
    known = { text: `select * from public.${name}(${parameters.map(([, type], i) => `$${i + 1}::${type}`).join(", ")})`, parameters };
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
