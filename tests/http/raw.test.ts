import fc from "fast-check";
import pg from "pg";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { seededRandom } from "../support/random.ts";
import { ADMIN_ID, type RunningFunction, startFunction } from "./support/function.ts";

let api: RunningFunction;
beforeAll(async () => {
  api = await startFunction();
});
afterAll(async () => {
  await api.stop();
});

const { seed } = seededRandom("raw requests");
const latin1 = (text: string) => Buffer.from(text, "latin1");
const get = (target: string, ...headers: string[]) =>
  latin1(`GET ${target} HTTP/1.1\r\n${[...headers, "Connection: close"].join("\r\n")}\r\n\r\n`);
const statusOf = (answer: string) => Number(/^HTTP\/1\.[01] (\d{3})/.exec(answer)?.[1] ?? 0);
/** The problem in a response, or null: the HTTP server refuses some requests before they reach the program. */
const problemOf = (answer: string) => {
  const text = answer.slice(answer.indexOf("\r\n\r\n") + 4).trim();
  return text.startsWith("{") ? JSON.parse(text) as { code: string; status: number; detail: string; requestId: string } : null;
};

let requests = 0;
const newId = () => `raw-${requests += 1}`;

/** The log lines of a request. Waits briefly, so that a second line would be found. */
async function linesOf(requestId: string): Promise<Record<string, unknown>[]> {
  const found = () => api.lines().filter((line) => line["requestId"] === requestId);
  await expect.poll(() => found().length, { timeout: 5_000 }).toBeGreaterThan(0);
  await sleep(50);
  return found();
}

const MALFORMED_HOSTS = [
  "a b",
  "[",
  "%",
  "x:99999",
  "x:abc",
  "<",
  "1.2.3.4.5",
  "xn--a",
  "a/b",
  "a/health?",
  "a?b",
  "a#b",
  "user@x",
  "\\",
  "\xff\xfe",
];

describe("a malformed Host header", () => {
  test.each(MALFORMED_HOSTS)("H23: %j gets a problem and one log line without a stack", async (host) => {
    const requestId = newId();
    const answer = await api.raw(get("/v1/plans", `Host: ${host}`, `X-Request-Id: ${requestId}`));
    expect(answer).toContain("content-type: application/problem+json");
    expect(problemOf(answer)).toMatchObject({ status: 400, code: "bad_request", requestId });
    expect(await linesOf(requestId)).toMatchObject([{ level: "info", event: "request", status: 400 }]);
  });

  test("H23: such as `a/health?` cannot change the path", async () => {
    const answer = await api.raw(get("/v1/me", "Host: a/health?x="));
    expect(statusOf(answer)).toBe(400);
    expect(statusOf(await api.raw(get("/health", "Host: a/nowhere?x=")))).toBe(400);
  });

  test("H23: that is missing, empty, long, repeated or an IP address never returns a 5xx", async () => {
    const requests: [Buffer, number[]][] = [
      [latin1("GET /health HTTP/1.0\r\n\r\n"), [200]],
      [get("/health"), [200, 400]],
      [get("/health", "Host:"), [200]],
      [get("/health", `Host: ${"x".repeat(5_000)}`), [200, 400]],
      [get("/health", `Host: ${"x".repeat(300_000)}`), [0, 200, 400, 431]],
      [get("/health", "Host: a.example", "Host: b.example"), [400]],
      [get("/health", "Host: [::1]:8000"), [200]],
      [get("/health", "Host: 127.0.0.1"), [200]],
      [get("/v1/plans", "Host: .."), [401]],
    ];
    for (const [bytes, statuses] of requests) {
      expect(statuses, bytes.toString("latin1").slice(0, 80)).toContain(statusOf(await api.raw(bytes)));
    }
    expect(api.output()).not.toMatch(/\bat .+\.ts:\d+|Uncaught/);
  });
});

describe("a malformed target", () => {
  test("H23: gets a problem, or the HTTP server's own 4xx", async () => {
    const targets = [
      "*",
      "//",
      "/%",
      "/%ff",
      "/\xff",
      "/a b",
      "x",
      "?a",
      "http://[/p",
      "http://other.example/p",
      "/[",
      "//[/x",
      "/\\\\[",
      "/%00",
      "/v1/plans?%",
      "/v1/plans?%ff=%zz",
    ];
    const paths = [
      "/..",
      "/v1/plans/..",
      "/v1/plans/%2e%2e",
      "/v1/plans/.",
      "/v1/plans/%2e",
      "/v1/tenants/%2e%2e/usage",
      `/${"a/".repeat(9_000)}`,
    ];
    for (const target of [...targets, ...paths]) {
      for (const method of ["GET", "OPTIONS", "CONNECT", "DELETE", "BREW"]) {
        const answer = await api.raw(latin1(`${method} ${target} HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\n\r\n`));
        const status = statusOf(answer);
        expect(status === 0 || status === 204 || (status >= 400 && status < 500), `${method} ${target} → ${answer.slice(0, 80)}`).toBe(
          true,
        );
      }
    }
    expect(api.lines().filter(({ level }) => level === "error")).toEqual([]);
  });

  test("H23: no random bytes return a 5xx or a stack", async () => {
    const text = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 30 });
    const line = text.map((part) => part.replaceAll(/[\r\n]/g, ""));
    const request = fc.record({
      method: fc.constantFrom("GET", "POST", "PATCH", "DELETE", "PUT"),
      target: line,
      host: line,
      name: line,
      value: line,
      body: text,
    });
    const run = fc.asyncProperty(request, async ({ method, target, host, name, value, body }) => {
      const head =
        `${method} /${target} HTTP/1.1\r\nHost: ${host}\r\n${name}: ${value}\r\nConnection: close\r\nContent-Length: ${body.length}`;
      const answer = await api.raw(latin1(`${head}\r\n\r\n${body}`), 2_000);
      expect(statusOf(answer), `${JSON.stringify(head)} → ${answer}`).toBeLessThan(500);
    });
    await fc.assert(run, { seed, numRuns: Number(process.env["FUZZ_REQUESTS"] ?? 500), endOnFailure: true });
    expect(api.lines().filter(({ level }) => level === "error")).toEqual([]);
  });
});

describe("a client that disconnects", () => {
  test("O11: during its upload leaves one line with status 499 and its own code", async () => {
    const token = await api.signer.sign(ADMIN_ID);
    const uploads = [
      ["PUT", "/v1/tenants/tn_gone/usage/rooms", 'Content-Length: 1000\r\n\r\n{"value":'],
      ["PUT", "/v1/tenants/tn_gone/usage/rooms", 'Transfer-Encoding: chunked\r\n\r\n9\r\n{"value":\r\n'],
      ["DELETE", "/v1/tenants/tn_gone", "Content-Length: 1000\r\n\r\n"],
    ] as const;
    for (const [method, path, rest] of uploads) {
      const requestId = newId();
      const head = [
        `${method} ${path} HTTP/1.1`,
        "Host: h.example",
        `X-Request-Id: ${requestId}`,
        `Authorization: Bearer ${token}`,
        "Content-Type: application/json",
      ];
      await api.raw(latin1([...head, rest].join("\r\n")), 500);
      expect(await linesOf(requestId)).toMatchObject([{ level: "info", method, status: 499, code: "client_closed_request" }]);
    }
  });

  test("O11: during a slow request leaves one line with status 499 and the status it would have received", async () => {
    const blocker = new pg.Client({ connectionString: api.superUrl });
    await blocker.connect();
    await blocker.query("begin; lock table kv.entries");
    const requestId = newId();
    const head = ["Host: h.example", `X-Request-Id: ${requestId}`, `Authorization: Bearer ${await api.signer.sign(ADMIN_ID)}`];
    await api.raw(get("/v1/plans", ...head), 300);
    await blocker.query("commit");
    await blocker.end();
    const line = { level: "info", path: "/v1/plans", status: 499, code: "client_closed_request", unsentStatus: 200 };
    expect(await linesOf(requestId)).toMatchObject([line]);
  });

  test("O11: before its response leaves at most one line, no error and no stack", async () => {
    const ids = Array.from({ length: 20 }, newId);
    await Promise.all(ids.map((id) => api.raw(latin1(`GET /ready HTTP/1.1\r\nHost: h.example\r\nX-Request-Id: ${id}\r\n\r\n`), 10)));
    // A client that disconnected before its request was read leaves no line.
    await expect.poll(() => ids.some((id) => api.output().includes(`"${id}"`)), { timeout: 5_000 }).toBe(true);
    await sleep(500);
    for (const id of ids) expect(api.lines().filter(({ requestId }) => requestId === id).length).toBeLessThanOrEqual(1);
    expect(api.lines().filter(({ level }) => level === "error")).toEqual([]);
    expect(problemOf(await api.raw(get("/nowhere", "Host: h.example")))).toMatchObject({ status: 404 });
  });
});
