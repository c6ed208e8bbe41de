import { ConnectionFault, SqlError } from "../driver.ts";
import type { SqlArguments, SqlDriver, SqlFunctionName, SqlRow } from "../driver.ts";

export interface SupabaseDriverOptions {
  /** The project's URL, e.g. `https://<ref>.supabase.co`. */
  readonly url: string;
  /** A secret key: the functions are granted to service_role alone. */
  readonly serviceKey: string;
  /** A call that has no answer by then is given up, 15 s when left out; it may have happened. */
  readonly timeoutMs?: number;
  /** How a request leaves; the runtime's own when left out. */
  readonly fetch?: typeof fetch;
}

/** What PostgREST or the gateway before it says when a call fails. */
interface Failure {
  readonly code?: string;
  readonly message?: string;
  readonly details?: string | null;
}

/** The one thing we use of a client; its own types want a generated schema. */
interface RpcClient {
  rpc(name: string, args: SqlArguments): PromiseLike<{ data: unknown; error: Failure | null; status: number }>;
}

/** The SQL functions through PostgREST and supabase-js: nothing to hold open, one round trip a call. */
export function supabaseDriver(options: SupabaseDriverOptions): SqlDriver {
  let client: Promise<RpcClient> | undefined;
  const call = async (name: SqlFunctionName, args: SqlArguments): Promise<unknown> => {
    client ??= connect(options);
    const named = Object.fromEntries(Object.entries(args).map(([parameter, value]) => [`p_${parameter}`, value]));
    const { data, error, status } = await (await client).rpc(name, named);
    if (error) throw failureOf(name, error, status);
    return data;
  };
  return {
    rows: async (name, args) => asRows(name, await call(name, args)),
    scalar: call,
    close: () => Promise.resolve(),
  };
}

/** Loaded on first use: supabase-js is most of a cold start, and only this driver needs it. */
async function connect(options: SupabaseDriverOptions): Promise<RpcClient> {
  const { createClient } = await import("@supabase/supabase-js");
  const client = createClient(options.url, options.serviceKey, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    global: { fetch: answeringFetch(options.fetch ?? fetch, options.timeoutMs ?? 15_000) },
    // Node 20 has no WebSocket and createClient throws without one; nothing here ever opens it.
    realtime: { transport: NoWebSocket as never },
  });
  return client as unknown as RpcClient;
}

class NoWebSocket {
  constructor() {
    throw new TypeError("the store's client opens no realtime connection");
  }
}

const NEVER_SENT = "never_sent";

/** supabase-js flattens a failed fetch to text; a request that never left is told apart here, by its cause. */
function answeringFetch(send: typeof fetch, timeoutMs: number): typeof fetch {
  return async (input, init) => {
    try {
      const deadline = AbortSignal.timeout(timeoutMs);
      return await send(input, { ...init, signal: init?.signal ? AbortSignal.any([init.signal, deadline]) : deadline });
    } catch (error) {
      if (!neverSent(error)) throw error;
      return Response.json({ code: NEVER_SENT, message: String(error) }, { status: 503 });
    }
  };
}

const CONNECT_CODES: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** Node names the step in the cause's code, Deno in the message; whatever is unclear counts as sent. */
function neverSent(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const cause: unknown = error.cause;
  if (cause instanceof Error && "code" in cause && CONNECT_CODES.has(cause.code)) return true;
  return /client error \(Connect\)|dns error/.test(error.message);
}

/** PostgREST's own codes that prove the statement did not run; PGRST001 is a connection lost on the way. */
const NOT_RUN: ReadonlySet<string> = new Set([NEVER_SENT, "PGRST000", "PGRST002", "PGRST003"]);

function failureOf(name: SqlFunctionName, { code = "", message = "", details = null }: Failure, status: number): Error {
  const text = `${name}: ${message || `HTTP ${status}`}`;
  if (/^[0-9A-Z]{5}$/.test(code)) return new SqlError(code, message, details);
  if (NOT_RUN.has(code)) return new ConnectionFault(false, text);
  if (code === "PGRST202") return new SqlError("42883", message, details);
  if (status === 401 || status === 403) return new SqlError("28000", text, details);
  if (status === 429) return new ConnectionFault(false, text);
  return new ConnectionFault(true, text);
}

function asRows(name: SqlFunctionName, data: unknown): SqlRow[] {
  if (!Array.isArray(data)) throw new ConnectionFault(true, `${name}: the answer is no list of rows`);
  return data as SqlRow[];
}
