import { expect, test } from "vitest";
import { ConnectionFault, SqlError } from "../../shared/kv/driver.ts";
import { supabaseDriver } from "../../shared/kv/drivers/supabase.ts";

/** The driver's error for a response, or for a request that fails. */
async function failureOf(answer: () => Promise<Response>): Promise<unknown> {
  const driver = supabaseDriver({ url: "http://project.invalid", serviceKey: "key", fetch: answer });
  return await driver.call("kv_get", { key: "a:b", now: "2026-01-01T00:00:00.000Z" }).catch((error: unknown) => error);
}

const problem = (status: number, body: object) => () => Promise.resolve(Response.json(body, { status }));
const refusedBy = (code: string) => () =>
  Promise.reject(new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code }) }));

test.each<[string, () => Promise<Response>, string, string | null]>([
  ["an error of ours", problem(400, { code: "KV003", message: "tenant deleted", details: "tn_1", hint: null }), "KV003", "tn_1"],
  ["a lost race", problem(500, { code: "40001", message: "again", details: null, hint: null }), "40001", null],
  ["a terminated backend", problem(503, { code: "57P01", message: "terminating", details: null, hint: null }), "57P01", null],
  [
    "a missing function",
    problem(404, { code: "PGRST202", message: "Could not find the function", details: "x", hint: null }),
    "42883",
    "x",
  ],
  ["a refused key", problem(401, { message: "Invalid API key" }), "28000", null],
  ["an expired token", problem(401, { code: "PGRST301", message: "JWT expired", details: null, hint: null }), "28000", null],
])("K31: supabase: %s is an SqlError: the transaction was rolled back", async (_, answer, sqlState, detail) => {
  const error = await failureOf(answer);
  expect(error).toBeInstanceOf(SqlError);
  expect(error).toMatchObject({ sqlState, detail });
});

test.each<[string, () => Promise<Response>, boolean]>([
  ["a refused connection", refusedBy("ECONNREFUSED"), false],
  ["an unknown host", refusedBy("ENOTFOUND"), false],
  ["a connection that times out", refusedBy("UND_ERR_CONNECT_TIMEOUT"), false],
  [
    "a refused connection under Deno",
    () =>
      Promise.reject(
        new TypeError(
          "error sending request for url (http://x/): client error (Connect): tcp connect error: Connection refused (os error 111)",
        ),
      ),
    false,
  ],
  ["no database connection", problem(503, { code: "PGRST000", message: "Database connection error.", details: null, hint: null }), false],
  [
    "no schema cache",
    problem(503, { code: "PGRST002", message: "Could not query the database for the schema cache.", details: null, hint: null }),
    false,
  ],
  ["an exhausted pool", problem(504, { code: "PGRST003", message: "Timed out acquiring connection", details: null, hint: null }), false],
  ["too many requests", problem(429, { message: "Too many requests" }), false],
  [
    "a database connection lost during the call",
    problem(503, { code: "PGRST001", message: "Database client error.", details: null, hint: null }),
    true,
  ],
  ["a reset connection", refusedBy("ECONNRESET"), true],
  ["a socket closed before the response", refusedBy("UND_ERR_SOCKET"), true],
  [
    "a closed connection under Deno",
    () => Promise.reject(new TypeError("error sending request for url (http://x/): connection closed before message completed")),
    true,
  ],
  ["an aborted request", () => Promise.reject(new DOMException("The operation was aborted.", "AbortError")), true],
  ["a gateway's page", () => Promise.resolve(new Response("<html>502 Bad Gateway</html>", { status: 502 })), true],
  ["an empty gateway timeout", () => Promise.resolve(new Response("", { status: 504 })), true],
  ["a response that is not JSON", () => Promise.resolve(new Response("<html>", { status: 200 })), true],
])("K05: supabase: %s is a ConnectionFault that shows whether the call may have been executed", async (_, answer, sent) => {
  const error = await failureOf(answer);
  expect(error).toBeInstanceOf(ConnectionFault);
  expect(error).toMatchObject({ sent });
});

test.each(["headers", "body"])(
  "K31: supabase: if a gateway hangs before its %s, the call times out and may have been executed",
  async (part) => {
    const driver = supabaseDriver({
      url: "http://project.invalid",
      serviceKey: "key",
      timeoutMs: 20,
      fetch: (_, init) => {
        const hanging = new Promise<never>((_resolve, reject) => {
          init?.signal?.addEventListener("abort", () => reject(init.signal?.reason as Error));
        });
        if (part === "headers") return hanging;
        return Promise.resolve(new Response(new ReadableStream({ pull: () => hanging }), { status: 200 }));
      },
    });
    const error = await driver.call("kv_get", { key: "a:b", now: "2026-01-01T00:00:00.000Z" }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConnectionFault);
    expect(error).toMatchObject({ sent: true });
  },
);

test("K12: supabase: each call is one request with named parameters and the key as apikey and bearer token", async () => {
  const requests: Request[] = [];
  const driver = supabaseDriver({
    url: "http://project.invalid",
    serviceKey: "the-key",
    fetch: (input, init) => {
      requests.push(new Request(input, init));
      return Promise.resolve(Response.json([]));
    },
  });
  expect(await driver.call("kv_mget", { keys: ["a:b"], now: "2026-01-01T00:00:00.000Z" })).toEqual([]);
  expect(requests).toHaveLength(1);
  const [request] = requests;
  expect(request?.url).toBe("http://project.invalid/rest/v1/rpc/kv_mget");
  expect([request?.method, request?.headers.get("apikey"), request?.headers.get("authorization")]).toEqual([
    "POST",
    "the-key",
    "Bearer the-key",
  ]);
  expect(await request?.json()).toEqual({ p_keys: ["a:b"], p_now: "2026-01-01T00:00:00.000Z" });
});
