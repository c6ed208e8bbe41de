import { deadlineIn, DEFAULT_TIMEOUT_MS, PING_TIMEOUT_MS, remainingMs } from "../deadline.ts";
import type { Deadline } from "../deadline.ts";
import { ConnectionFault, SqlError, TimeoutFault } from "../driver.ts";
import type { SqlArguments, VaultDriver } from "../driver.ts";

export interface SupabaseDriverOptions {
  /** The project's URL, e.g. `https://<ref>.supabase.co`. */
  readonly url: string;
  /** A secret key: only service_role may execute the functions. */
  readonly serviceKey: string;
  /** The time limit of a request. Default: 15 s. An aborted request may have been executed. */
  readonly timeoutMs?: number;
  /** Sends the requests. Default: the runtime's `fetch`. */
  readonly fetch?: typeof fetch;
}

/** The error body of PostgREST or of the gateway in front of it. */
interface Failure {
  readonly code?: string;
  readonly message?: string;
  readonly details?: string | null;
}

/** The part of supabase-js that is used. Its own types require a generated schema. */
interface RpcClient {
  rpc(name: string, args: SqlArguments): { abortSignal(signal: AbortSignal): PromiseLike<RpcResult> };
}

interface RpcResult {
  readonly data: unknown;
  readonly error: Failure | null;
  readonly status: number;
}

/** Calls the SQL functions through PostgREST with supabase-js: one request per call, no database connection. */
export function supabaseDriver(options: SupabaseDriverOptions): VaultDriver {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  let client: Promise<RpcClient> | undefined;
  const send = async (name: string, args: SqlArguments, deadline: Deadline, limitMs: number): Promise<unknown> => {
    const project = await (client ??= connect(options));
    const named = Object.fromEntries(Object.entries(args).map(([parameter, value]) => [`p_${parameter}`, value]));
    const { data, error, status } = await withinDeadline((signal) => project.rpc(name, named).abortSignal(signal), deadline, limitMs);
    if (error) throw failureOf(name, error, status);
    return data;
  };
  return {
    timeoutMs,
    call: (name, args, deadline = deadlineIn(timeoutMs)) => send(name, args, deadline, timeoutMs),
    // `fetch` chooses the connection. Over HTTP/1.1 it does not use one with a pending request.
    ping: (deadline = deadlineIn(PING_TIMEOUT_MS)) => send("kv_ping", {}, deadline, PING_TIMEOUT_MS),
    rootKeys: () => send("innkeep_root_keys", {}, deadlineIn(timeoutMs), timeoutMs),
    close: () => Promise.resolve(),
  };
}

/** Creates the client. supabase-js is loaded with the first call, because it dominates a cold start. */
async function connect(options: SupabaseDriverOptions): Promise<RpcClient> {
  const { createClient } = await import("@supabase/supabase-js");
  const client = createClient(options.url, options.serviceKey, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    global: { fetch: fetchOrUnsent(options.fetch ?? fetch) },
    // Without a WebSocket, as in Node 20, createClient throws. Realtime is not used.
    realtime: { transport: NoWebSocket as never },
  });
  return client as unknown as RpcClient;
}

class NoWebSocket {
  constructor() {
    throw new TypeError("the store does not use realtime connections");
  }
}

const NEVER_SENT = "never_sent";

/** Aborts the request at the deadline and rejects, even if `fetch` ignores the signal. A request that was started counts as sent. */
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

/** A `fetch` that reports unsent requests as a response: supabase-js reduces errors of `fetch` to text, without the cause. */
function fetchOrUnsent(send: typeof fetch): typeof fetch {
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

/** Whether the connection was not established. Node reports it in the code of the cause, Deno in the message. Otherwise: sent. */
function neverSent(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const cause: unknown = error.cause;
  if (cause instanceof Error && "code" in cause && CONNECT_CODES.has(cause.code)) return true;
  return /client error \(Connect\)|dns error/.test(error.message);
}

/** Codes that prove that the statement was not executed. PGRST001 does not: the connection may have been lost later. */
const NOT_RUN: ReadonlySet<string> = new Set([NEVER_SENT, "PGRST000", "PGRST002", "PGRST003"]);

function failureOf(name: string, { code = "", message = "", details = null }: Failure, status: number): Error {
  const text = `${name}: ${message || `HTTP ${status}`}`;
  if (/^[0-9A-Z]{5}$/.test(code)) return new SqlError(code, message, details);
  if (NOT_RUN.has(code)) return new ConnectionFault(false, text);
  if (code === "PGRST202") return new SqlError("42883", message, details);
  if (status === 401 || status === 403) return new SqlError("28000", text, details);
  if (status === 429) return new ConnectionFault(false, text);
  return new ConnectionFault(true, text);
}
