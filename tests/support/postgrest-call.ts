import pg from "pg";

/** One RPC of the test-only PostgREST bridge: finding the function, calling it, mapping its errors. */
export type ApiRole = "anon" | "authenticated" | "service_role";

export interface RpcAnswer {
  readonly status: number;
  readonly body: string;
}

const MAX_ROWS = 1_000;

interface Routine {
  readonly parameters: readonly { readonly name: string; readonly type: string }[];
  readonly required: number;
  readonly set: boolean;
  readonly composite: boolean;
  readonly empty: boolean;
  readonly writes: boolean;
}

const FIND = `
  select p.provolatile = 'v' as writes, p.proretset as set, p.pronargs - p.pronargdefaults as required, t.typname = 'void' as empty,
    t.typtype = 'c' or (t.typname = 'record' and p.proargmodes is not null) as composite,
    coalesce((select json_agg(json_build_object('name', p.proargnames[n], 'type', format_type(p.proargtypes[n - 1], null)) order by n)
      from generate_series(1, p.pronargs) n), '[]') as parameters
  from pg_proc p join pg_type t on t.oid = p.prorettype
  where p.pronamespace = 'public'::regnamespace and p.proname = $1`;

export async function callFunction(pool: pg.Pool, name: string, body: string, role: ApiRole): Promise<RpcAnswer> {
  const given = parseBody(body);
  if (!given) return problem(400, "PGRST102", "Empty or invalid json");
  const client = await acquire(pool);
  let broken: Error | undefined;
  try {
    const { rows } = await client.query<Routine>({ name: "find-routine", text: FIND, values: [name] });
    const matching = rows.filter((routine) => accepts(routine, given));
    if (matching.length > 1) return problem(300, "PGRST203", `Could not choose the best candidate function for public.${name}`);
    const routine = matching[0];
    if (!routine) return problem(404, "PGRST202", `Could not find the function public.${name}(${given.join(", ")}) in the schema cache`);
    return await inTransaction(client, role, routine, () => call(client, name, routine, given, body));
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.severity === "FATAL") broken = error as Error;
    throw error;
  } finally {
    client.release(broken);
  }
}

function parseBody(body: string): string[] | null {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed) ? Object.keys(parsed) : null;
  } catch {
    return null;
  }
}

function accepts(routine: Routine, given: readonly string[]): boolean {
  const names = routine.parameters.map(({ name }) => name);
  return given.every((name) => names.includes(name)) && names.slice(0, routine.required).every((name) => given.includes(name));
}

/** A failure to open a connection; PostgREST tells it apart from one lost later. */
class NoConnection extends Error {}
class PoolTimeout extends Error {}

async function acquire(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    const { message } = error as Error;
    throw message.includes("timeout exceeded") ? new PoolTimeout(message) : new NoConnection(message);
  }
}

async function inTransaction(client: pg.PoolClient, role: ApiRole, routine: Routine, work: () => Promise<RpcAnswer>): Promise<RpcAnswer> {
  await client.query(
    `begin isolation level read committed read ${routine.writes ? "write" : "only"};
     select set_config('search_path', '"public", "extensions"', true), set_config('role', '${role}', true),
       set_config('request.jwt.claims', '{"role":"${role}"}', true), set_config('request.method', 'POST', true)`,
  );
  try {
    const result = await work();
    await client.query("commit");
    return result;
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.severity !== "FATAL") await client.query("rollback");
    throw error;
  }
}

async function call(client: pg.PoolClient, name: string, routine: Routine, given: readonly string[], body: string): Promise<RpcAnswer> {
  const used = routine.parameters.filter((parameter) => given.includes(parameter.name));
  const record = used.map((p) => `"${p.name}" ${p.type}`).join(", ");
  const args = used.map((p) => `"${p.name}" := args."${p.name}"`).join(", ");
  const from = used.length ? `json_to_record($1::json) as args(${record}), lateral` : "(select $1::json) as unused,";
  const source = `select ${routine.composite ? "result.*" : "result.value"} from ${from} public."${name}"(${args}) as result${
    routine.composite ? "" : "(value)"
  } ${routine.set ? `limit ${MAX_ROWS}` : ""}`;
  const row = routine.composite ? "answer" : "answer.value";
  const shape = routine.set ? `coalesce(json_agg(${row}), '[]')` : `coalesce(json_agg(${row})->0, 'null')`;
  const text = `with source as (${source}) select ${shape}::text as body from (select * from source) answer`;
  const { rows } = await client.query<{ body: string }>(text, [body]);
  return routine.empty ? { status: 204, body: "" } : { status: 200, body: rows[0]?.body ?? "null" };
}

export function problem(
  status: number,
  code: string,
  message: string,
  details: string | null = null,
  hint: string | null = null,
): RpcAnswer {
  return { status, body: JSON.stringify({ code, message, details, hint }) };
}

export function errorAnswer(error: unknown, authenticated: boolean): RpcAnswer {
  if (error instanceof NoConnection) return problem(503, "PGRST000", "Database connection error. Retrying the connection.", error.message);
  if (error instanceof PoolTimeout) return problem(504, "PGRST003", "Timed out acquiring connection from connection pool.");
  if (!(error instanceof pg.DatabaseError)) {
    return problem(503, "PGRST001", "Database client error. Retrying the connection.", String(error));
  }
  const code = error.code ?? "XX000";
  return problem(statusOf(code, error.message, authenticated), code, error.message, error.detail ?? null, error.hint ?? null);
}

/** The longest matching prefix of the SQLSTATE decides. Default: 400. */
const STATUS_OF_STATE: Readonly<Record<string, number>> = {
  "08": 503,
  "09": 500,
  "0L": 403,
  "0P": 403,
  "23503": 409,
  "23505": 409,
  "25006": 405,
  "21000": 500,
  "25": 500,
  "28": 403,
  "2D": 500,
  "38": 500,
  "39": 500,
  "3B": 500,
  "40": 500,
  "53400": 500,
  "53": 503,
  "54": 500,
  "55": 500,
  "57P01": 503,
  "57": 500,
  "58": 500,
  "F0": 500,
  "HV": 500,
  "P0001": 400,
  "P0": 500,
  "XX": 500,
  "42883": 404,
  "42P01": 404,
  "42P17": 500,
};

function statusOf(code: string, message: string, authenticated: boolean): number {
  if (code === "42501") return authenticated ? 403 : 401;
  if (code === "22023" && /^role .* does not exist$/.test(message)) return 401;
  return STATUS_OF_STATE[code] ?? STATUS_OF_STATE[code.slice(0, 2)] ?? 400;
}
