import { deadlineIn, DEFAULT_TIMEOUT_MS, PING_TIMEOUT_MS, remainingMs } from "../deadline.ts";
import type { Deadline } from "../deadline.ts";
import { ConnectionFault, SqlError, TimeoutFault } from "../driver.ts";
import type { SqlArguments, SqlDriver, SqlFunctionName } from "../driver.ts";

export interface SupabaseDriverOptions {
  /** The project's URL, e.g. `https://<ref>.supabase.co`. */
  readonly url: string;
  /** A secret key: the functions are granted to service_role alone. */
  readonly serviceKey: string;
  /** A request that has no answer by then is aborted, 15 s when left out; it may have happened. */
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
  rpc(name: string, args: SqlArguments): { abortSignal(signal: AbortSignal): PromiseLike<RpcResult> };
}

interface RpcResult {
  readonly data: unknown;
  readonly error: Failure | null;
  readonly status: number;
}

/** The SQL functions through PostgREST and supabase-js: nothing to hold open, one round trip a call. */
export function supabaseDriver(options: SupabaseDriverOptions): SqlDriver {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  let client: Promise<RpcClient> | undefined;
  const send = async (name: SqlFunctionName, args: SqlArguments, deadline: Deadline, limitMs: number): Promise<unknown> => {
    const project = await (client ??= connect(options));
    const named = Object.fromEntries(Object.entries(args).map(([parameter, value]) => [`p_${parameter}`, value]));
    const { data, error, status } = await withinDeadline((signal) => project.rpc(name, named).abortSignal(signal), deadline, limitMs);
    if (error) throw failureOf(name, error, status);
    return data;
  };
  return {
    timeoutMs,
    call: (name, args, deadline = deadlineIn(timeoutMs)) => send(name, args, deadline, timeoutMs),
    // `fetch` chooses the connection; over HTTP/1.1 it is none that waits for another answer.
    ping: (deadline = deadlineIn(PING_TIMEOUT_MS)) => send("kv_ping", {}, deadline, PING_TIMEOUT_MS),
    close: () => Promise.resolve(),
  };
}

/** Loaded on first use: supabase-js is most of a cold start, and only this driver needs it. */
async function connect(options: SupabaseDriverOptions): Promise<RpcClient> {
  const { createClient } = await import("@supabase/supabase-js");
  const client = createClient(options.url, options.serviceKey, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    global: { fetch: answeringFetch(options.fetch ?? fetch) },
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

/** Aborts the request at the deadline, and does not wait for whoever ignores that. What was started counts as sent. */
function withinDeadline(start: (signal: AbortSignal) => PromiseLike<RpcResult>, deadline: Deadline, limitMs: number): Promise<RpcResult> {
  return new Promise((resolve, reject) => {
    const patienceMs = remainingMs(deadline);
    if (patienceMs === 0) return reject(new TimeoutFault(false, limitMs));
    const abort = new AbortController();
    const timer = setTimeout(() => {
      reject(new TimeoutFault(true, limitMs));
      abort.abort();
    }, patienceMs);
    start(abort.signal).then((result) => {
      clearTimeout(timer);
      resolve(result);
    }, (error: unknown) => {
      clearTimeout(timer);
      reject(new ConnectionFault(true, "the request failed", { cause: error }));
    });
  });
}

/** supabase-js flattens a failed fetch to text; a request that never left is told apart here, by its cause. */
function answeringFetch(send: typeof fetch): typeof fetch {
  return async (input, init) => {
    try {
      return await send(input, init);
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
