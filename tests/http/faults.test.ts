import { afterAll, expect, test } from "vitest";
import { createApi } from "../../functions/api/app.ts";
import { createTokenVerifier } from "../../shared/adapters/token-verifier.ts";
import { createBackend } from "../../shared/container.ts";
import { jsonLogger } from "../../shared/kernel/logger.ts";
import { own } from "./support/own-database.ts";
import { expectProblem, useApi } from "./support/api.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Store } from "../../shared/kv/store.ts";
import { AUDIENCE, ISSUER } from "./support/tokens.ts";

const api = useApi({ database: async () => (await own()).database });
afterAll(async () => (await own()).cluster.remove());

test("H01: while the database is stopped, requests return 503 with Retry-After; they recover without a restart", async () => {
  const token = api.admin("super_admin");
  const { id } = await api.tenant();
  const path = `/v1/tenants/${id}`;
  const { cluster } = await own();
  await cluster.stop();
  expect((await api.send("GET", "/health")).status).toBe(200);
  for (
    const answer of [
      await api.send("GET", "/ready"),
      await api.send("GET", path, { token }),
      await api.send("GET", "/v1/tenants", { token }),
      await api.send("PATCH", path, { token, json: { name: "Lost" } }),
      await api.send("GET", "/v1/me", { token }),
    ]
  ) {
    expectProblem(answer, 503, "store_unavailable");
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(answer.text).not.toMatch(/ECONN|127\.0\.0\.1|postgres|select /i);
  }
  await cluster.start();
  await expect.poll(async () => (await api.send("GET", "/ready")).status, { timeout: 15_000 }).toBe(200);
  expect((await api.send("PATCH", path, { token, json: { name: "Back" } })).body.name).toBe("Back");
});

/** The API over the given store. */
function appOver(store: Store, log: (line: string) => void) {
  const verifier = createTokenVerifier({ issuer: ISSUER, audience: AUDIENCE, jwks: api.signer.jwks, clock: api.clock, fetch });
  const backend = createBackend({ store, clock: api.clock, logger: jsonLogger(log, api.clock.now) });
  return createApi({ logger: backend.logger, corsOrigins: [] }, () => ({ backend, verifier }));
}

test.each([
  ["of a database that was never migrated is 503 schema_mismatch and names the command", "template1", 503, {
    code: "schema_mismatch",
    detail: expect.stringContaining("npm run migrate") as string,
  }],
  ["of a read-only database says that writes are refused", null, 200, { refusesWrites: "the database is read-only" }],
])("O02: /ready %s", async (_, name, status, body) => {
  const { database } = await own();
  const url = new URL(name === null ? database.appUrl : database.superUrl);
  if (name === null) url.searchParams.set("options", "-c default_transaction_read_only=on");
  else url.pathname = `/${name}`;
  const store = createStore(postgresDriver({ connectionString: url.href }), { clock: api.clock });
  const response = await appOver(store, () => undefined).fetch(new Request("http://localhost/ready"));
  expect(response.status).toBe(status);
  expect(await response.json()).toMatchObject(body);
  await store.close();
});

test("O11: the log has the reason for a failed connection, and the response does not", async () => {
  const url = new URL((await own()).database.appUrl);
  url.password = "wrong";
  const lines: string[] = [];
  const store = createStore(postgresDriver({ connectionString: url.href }), { clock: api.clock });
  const text = await (await appOver(store, (line) => lines.push(line)).fetch(new Request("http://localhost/ready"))).text();
  expect(text).toContain("The database refuses this login.");
  expect(text).not.toMatch(/28P01|password/);
  expect(lines.find((line) => line.includes("request_failed"))).toMatch(/password authentication failed.*\(28P01\)/);
  await store.close();
});

test("H23: a stored record that does not match its schema returns 500; only the log has its key and the error", async () => {
  const token = api.admin("super_admin");
  const { id } = await api.tenant();
  const key = `tenant:${id}`;
  const { value = {} } = await api.container.store.get(key) ?? {};
  await api.container.store.set(key, { ...Object(value), mrr: "much" }, { tenantId: id, cascades: true });
  const answer = await api.send("GET", `/v1/tenants/${id}`, { token });
  expectProblem(answer, 500, "internal");
  expect(answer.body.detail).toMatch(/The request id identifies it in the log/);
  expect(JSON.stringify({ ...answer.body, instance: "" })).not.toMatch(/tn_|mrr|declaration/);
  expect(answer.body.errors).toBeUndefined();
  expect(api.logs.find((line) => line["requestId"] === answer.body.requestId && line["code"] === "internal")).toMatchObject({
    error: expect.stringContaining(`${key} does not match its declaration at /mrr`) as string,
  });
});

test("H23: an unexpected error returns 500 with a request id; only the log has its details", async () => {
  const { store } = api.container;
  const lines: string[] = [];
  const logger = jsonLogger((line) => lines.push(line), api.clock.now);
  const backend = {
    ...createBackend({ store, clock: api.clock, logger }),
    bind: () => {
      throw new TypeError("inside: password=hunter2");
    },
  };
  const verifier = createTokenVerifier({ issuer: ISSUER, audience: AUDIENCE, jwks: api.signer.jwks, clock: api.clock, fetch });
  const app = createApi({ logger: backend.logger, corsOrigins: [] }, () => ({ backend, verifier }));
  const response = await app.fetch(
    new Request("http://localhost/v1/plans", { headers: { authorization: `Bearer ${api.admin("admin")}` } }),
  );
  const text = await response.text();
  expect(response.status).toBe(500);
  expect(JSON.parse(text)).toMatchObject({ code: "internal", requestId: response.headers.get("x-request-id") });
  expect(text).not.toContain("hunter2");
  const line = lines.find((one) => one.includes("request_failed")) ?? "";
  expect(line).toContain(String(response.headers.get("x-request-id")));
  expect(line).toContain("TypeError");
});

test.each([
  ["throws", () => {
    throw new Error("inside: no module");
  }],
  ["rejects", () => Promise.reject(new Error("inside: no module"))],
])("H23: a load that %s is a 500 with a request id, is logged, and is tried again by the next request", async (_, fail) => {
  const { store } = api.container;
  const lines: string[] = [];
  const logger = jsonLogger((line) => lines.push(line), api.clock.now);
  const backend = createBackend({ store, clock: api.clock, logger });
  const verifier = createTokenVerifier({ issuer: ISSUER, audience: AUDIENCE, jwks: api.signer.jwks, clock: api.clock, fetch });
  let isBroken = true;
  const app = createApi({ logger, corsOrigins: [] }, () => isBroken ? fail() : { backend, verifier });
  const headers = { authorization: `Bearer ${api.admin("admin")}`, "x-request-id": "load-1" };
  const get = (path: string) => app.fetch(new Request(`http://localhost${path}`, { headers }));
  const failed = await Promise.all([get("/v1/plans"), get("/v1/plans/Pro"), get("/ready"), get("/nowhere")]);
  for (const response of failed) {
    const text = await response.text();
    expect(response.status, text).toBe(500);
    expect(JSON.parse(text)).toMatchObject({ code: "internal", requestId: "load-1" });
    expect(text).not.toContain("no module");
  }
  expect(lines.filter((line) => line.includes("request_failed") && line.includes("no module"))).toHaveLength(failed.length);
  expect(lines.filter((line) => line.includes('"event":"request"'))).toHaveLength(failed.length);
  expect((await get("/health")).status).toBe(200);
  isBroken = false;
  for (const path of ["/v1/plans", "/v1/plans/Pro", "/ready"]) expect((await get(path)).status, path).toBe(200);
});
