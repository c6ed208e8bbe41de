/**
 * A TEST-ONLY HTTP bridge that speaks PostgREST's RPC protocol over a real Postgres, for the
 * `supabase` driver: PostgREST itself is a Haskell program that these machines cannot install.
 *
 * Reproduced: `POST /rest/v1/rpc/<function>` with named JSON parameters, turned to the declared types
 * by `json_to_record`; overloads told apart by names; one transaction a request, read-only unless the
 * function is volatile; `set_config('role', …, true)` for the role of the key; a JSON array for a set,
 * cut in silence at max_rows, the value itself for a scalar, 204 for void; error bodies `{code,
 * message, details, hint}` with SQLSTATE and the status table of PostgREST's Error.hs; PGRST000 (no
 * connection), PGRST001 (connection lost on the way), PGRST003 (pool exhausted), PGRST106 (schema not
 * exposed), PGRST202 (no such function), PGRST205 (no such table); the gateway's 401 for a key it does not know.
 *
 * Not reproduced: tables and views, GET, filters, embedding, `Prefer`, other media types, OpenAPI, JWTs
 * (a key maps to a role by a table), raising PT* and PGRST errors.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import pg from "pg";
import { callFunction, errorAnswer, problem } from "./postgrest-call.ts";
import type { ApiRole, RpcAnswer } from "./postgrest-call.ts";

/** The keys of the project. The gateway maps each to a role. */
export const API_KEYS = {
  serviceKey: "test-service-role-key",
  authenticatedKey: "test-authenticated-key",
  anonKey: "test-anon-key",
} as const;

const ROLE_OF_KEY: ReadonlyMap<string, ApiRole> = new Map([
  [API_KEYS.serviceKey, "service_role"],
  [API_KEYS.authenticatedKey, "authenticated"],
  [API_KEYS.anonKey, "anon"],
]);

export interface PostgrestBridge {
  /** The project's URL, as `createClient` takes it. */
  readonly url: string;
  close(): Promise<void>;
}

export interface BridgeOptions {
  /** As PostgREST's login, `authenticator`. */
  readonly databaseUrl: string;
  readonly poolSize?: number;
  readonly acquireTimeoutMs?: number;
  /** Called after a commit. If it returns true, the connection is closed without a response. */
  readonly loseAnswer?: (functionName: string) => boolean;
}

export async function startPostgrest(options: BridgeOptions): Promise<PostgrestBridge> {
  const pool = new pg.Pool({
    connectionString: options.databaseUrl,
    max: options.poolSize ?? 10,
    connectionTimeoutMillis: options.acquireTimeoutMs ?? 10_000,
  });
  // The pool drops a broken idle connection; the next request opens another one.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  const server = createServer((request, response) => {
    void answer(pool, options, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await pool.end();
    },
  };
}

async function answer(pool: pg.Pool, options: BridgeOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let result: RpcAnswer;
  let name = "";
  try {
    const refused = refusal(request);
    name = /^\/rest\/v1\/rpc\/([A-Za-z0-9_]+)$/.exec(request.url ?? "")?.[1] ?? "";
    result = refused ?? await callFunction(pool, name, await body(request), roleOf(request) ?? "anon");
  } catch (error) {
    result = errorAnswer(error, roleOf(request) !== "anon");
  }
  if (result.status < 300 && options.loseAnswer?.(name)) {
    request.socket.destroy();
    return;
  }
  response.writeHead(result.status, { "content-type": "application/json; charset=utf-8" });
  response.end(result.body);
}

function roleOf(request: IncomingMessage): ApiRole | undefined {
  return ROLE_OF_KEY.get(/^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "");
}

function refusal(request: IncomingMessage): RpcAnswer | null {
  if (!roleOf(request)) return { status: 401, body: JSON.stringify({ message: "Invalid API key", hint: "Double check your API key." }) };
  const profile = request.headers["content-profile"] ?? request.headers["accept-profile"];
  if (profile !== undefined && profile !== "public") return problem(406, "PGRST106", `Invalid schema: ${String(profile)}`);
  const path = request.url ?? "";
  if (!path.startsWith("/rest/v1/rpc/")) {
    const table = path.replace("/rest/v1/", "").split("?")[0];
    return problem(404, "PGRST205", `Could not find the table 'public.${table}' in the schema cache`);
  }
  return request.method === "POST" ? null : problem(405, "PGRST101", "Only POST is reproduced by this bridge");
}

async function body(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8") || "{}";
}
