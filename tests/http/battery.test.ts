import { describe, expect, test } from "vitest";
import type { Route } from "../../shared/core/route.ts";
import { RESERVED_TENANT_IDS } from "../../shared/kv/key.ts";
import { scopes } from "../../shared/features/index.ts";
import { type Answer, expectProblem, useApi } from "./support/api.ts";
import { bodyOf, pathOf, prepare } from "./support/samples.ts";

const api = useApi();

/** Calls `check` for every route of the app, naming the one that fails. */
async function everyRoute(keep: (route: Route) => boolean, check: (route: Route) => Promise<void>): Promise<void> {
  const routes = api.routes.filter(keep);
  expect(routes.length).toBeGreaterThan(0);
  for (const route of routes) {
    try {
      await check(route);
    } catch (error) {
      throw new Error(`${route.method} ${route.path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
}

async function call(route: Route, tenantId: string, token: string | undefined, headers: Record<string, string> = {}): Promise<Answer> {
  const json = bodyOf(route);
  return await api.send(route.method, pathOf(route, { tenantId }), { token, headers, ...(json ? { json } : {}) });
}

const isGuarded = (route: Route) => route.scope !== "public";
const isMutation = (route: Route) => route.method !== "GET";
const takesBody = (route: Route) => isMutation(route) && route.method !== "DELETE";

describe("every route", () => {
  test("R01: without a credential answers 401 with a challenge", async () => {
    const { id } = await api.tenant();
    await everyRoute(isGuarded, async (route) => {
      const answer = await call(route, id, undefined);
      expectProblem(answer, 401, "unauthenticated");
      expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="innkeep"');
    });
  });

  test("R01: with a credential that is no token answers 401 with invalid_token", async () => {
    const { id } = await api.tenant();
    await everyRoute(isGuarded, async (route) => {
      const answer = await call(route, id, "not.a.token");
      expectProblem(answer, 401, "unauthenticated");
      expect(answer.headers.get("www-authenticate")).toContain('error="invalid_token"');
    });
  });

  test("R12: declares a scope, and only health, readiness and the description are public", async () => {
    const open = api.routes.filter((route) => route.scope === "public").map(({ path }) => path);
    expect(open).toEqual(["/health", "/ready", "/openapi.json"]);
    expect(api.routes.filter(({ scope }) => scope === "caller").map(({ path }) => path)).toEqual(["/v1/me"]);
    await everyRoute(isGuarded, (route) => Promise.resolve(expect(route.scope).toMatch(/^(caller|(read|write):[a-z-]+)$/)));
  });

  test("R13: refuses a caller without its scope with 403 and names the scope", async () => {
    const { id } = await api.tenant();
    const callers = [
      { held: scopes.ofAdmin("read_only"), token: api.admin("read_only") },
      { held: scopes.ofAdmin("support"), token: api.admin("support") },
      { held: scopes.ofTenant("viewer"), token: await api.user(id, "viewer") },
    ];
    const seen: string[] = [];
    await everyRoute(isGuarded, async (route) => {
      for (const { held, token } of callers) {
        if (route.scope === "caller" || route.scope === "public" || held.has(route.scope)) continue;
        seen.push(route.operationId);
        const answer = await call(route, id, token);
        expectProblem(answer, 403, "insufficient_scope");
        expect(answer.body.requiredScope).toBe(route.scope);
      }
    });
    // Nothing that changes anything is open to all three.
    expect(api.routes.filter((route) => isMutation(route) && !seen.includes(route.operationId))).toEqual([]);
  });

  test("R13: for platform admins alone refuses a tenant's owner with 403", async () => {
    const { id } = await api.tenant();
    const token = await api.user(id, "owner");
    await everyRoute(
      (route) => route.platformOnly === true,
      async (route) => expectProblem(await call(route, id, token), 403, "forbidden"),
    );
  });

  test("T14: of another tenant answers a tenant's owner 404, whatever its right", async () => {
    const [own, other] = [await api.tenant(), await api.tenant()];
    const token = await api.user(own.id, "owner");
    await everyRoute((route) => route.path.includes(":tenantId"), async (route) => {
      expectProblem(await call(route, other.id, token), 404, "not_found");
    });
    await everyRoute(isGuarded, async (route) => {
      const answer = await call(route, own.id, token, { "x-tenant-id": other.id });
      expectProblem(answer, 404, "not_found");
    });
  });

  test("T08: of a suspended tenant answers its users 403, but for billing reads and /v1/me", async () => {
    const { id } = await api.tenant();
    await api.services.TenantService.suspend(id, "unpaid");
    const token = await api.user(id, "owner");
    const open: string[] = [];
    await everyRoute(isGuarded, async (route) => {
      const answer = await call(route, id, token);
      if (answer.status === 200) open.push(route.operationId);
      else expectProblem(answer, 403, "tenant_suspended");
    });
    expect(open).toEqual(["getSubscription", "getMe"]);
  });

  test("H06: refuses an unknown field with 422 and a pointer", async () => {
    const { id } = await api.tenant();
    await everyRoute(takesBody, async (route) => {
      const answer = await api.send(route.method, pathOf(route, { tenantId: id }), {
        token: api.admin("super_admin"),
        json: { ...bodyOf(route), "no/such": 1 },
      });
      expectProblem(answer, 422, "validation_failed");
      expect(answer.body.errors).toEqual([{ path: "/no~1such", message: "is not a known field", code: "unknown_field" }]);
    });
  });

  test("H22: refuses a body that is no object, not JSON, not of type JSON or too long", async () => {
    const { id } = await api.tenant();
    const token = api.admin("super_admin");
    const json = { "content-type": "application/json" };
    await everyRoute(takesBody, async (route) => {
      const path = pathOf(route, { tenantId: id });
      for (const value of [[], [1], "text", 1, true, null]) {
        expectProblem(await api.send(route.method, path, { token, json: value }), 422, "validation_failed");
      }
      for (const raw of ["{", "{'a':1}", '{"a":1,}', "\ufffe", '"\u0000"']) {
        expectProblem(await api.send(route.method, path, { token, raw, headers: json }), 400, "invalid_json");
      }
      expectProblem(
        await api.send(route.method, path, { token, raw: "{}", headers: { "content-type": "text/plain" } }),
        415,
        "unsupported_media_type",
      );
      const long = JSON.stringify({ name: "x".repeat(1024 * 1024) });
      expectProblem(await api.send(route.method, path, { token, raw: long, headers: json }), 413, "payload_too_large");
    });
  });

  test("H22: refuses an unknown and a repeated parameter with 400", async () => {
    const { id } = await api.tenant();
    await everyRoute(() => true, async (route) => {
      const path = pathOf(route, { tenantId: id });
      const answer = await api.send(route.method, `${path}${path.includes("?") ? "&" : "?"}nosuch=1`, {
        token: api.admin("super_admin"),
        ...(takesBody(route) ? { json: bodyOf(route) ?? {} } : {}),
      });
      expectProblem(answer, 400, "invalid_parameter");
      expect(answer.body.errors).toContainEqual({ path: "nosuch", message: "is not a parameter of this route", code: "unknown_parameter" });
    });
  });

  test("H22: answers a malformed id with 404", async () => {
    const token = api.admin("super_admin");
    await everyRoute((route) => route.path.includes(":"), async (route) => {
      for (const bad of ["a%3Ab", "tenant:a:b", "%25", "%00", "%2e%2e%2f", "a%20b", "%ff", "ü", "x".repeat(129), "*", "%F0%9F%8F%A8"]) {
        const json = bodyOf(route);
        const path = route.path.replace(/:\w+/, bad).replaceAll(/:\w+/g, "api_calls");
        expectProblem(await api.send(route.method, path, { token, ...(json ? { json } : {}) }), 404, "not_found");
      }
    });
  });

  test("K23: answers an id that no tenant can have with 404, to a change as to a read", async () => {
    const token = api.admin("super_admin");
    const routes = api.routes.map(({ path }) => path);
    await everyRoute((route) => route.path.includes(":tenantId"), async (route) => {
      for (const id of RESERVED_TENANT_IDS) {
        const path = pathOf(route, { tenantId: id });
        if (route.method === "GET" && routes.includes(path)) continue;
        const json = bodyOf(route);
        expectProblem(await api.send(route.method, path, { token, ...(json ? { json } : {}) }), 404, "not_found");
      }
    });
  });

  test("A05: that changes something writes exactly one audit entry with the request's id; metering none, a deletion one a chain", async () => {
    const token = api.admin("super_admin");
    const expected: Readonly<Record<string, number>> = { recordUsage: 0, incrementUsage: 0, consumeUsage: 0, deleteTenant: 2 };
    await everyRoute(isMutation, async (route) => {
      const ids = await prepare(api, route);
      const before = await api.auditCount();
      api.clock.advance(1); // the newest entries are then this request's
      const json = bodyOf(route);
      const answer = await api.send(route.method, pathOf(route, ids), {
        token,
        headers: { "x-request-id": `audit-${route.operationId}` },
        ...(json ? { json } : {}),
      });
      expect(answer.status, answer.text).toBeLessThan(300);
      const count = expected[route.operationId] ?? 1;
      expect(await api.auditCount() - before, route.operationId).toBe(count);
      const entries = await api.services.AuditService.list(undefined, { limit: 5 });
      const own = entries.data.filter(({ requestId }) => requestId === `audit-${route.operationId}`);
      expect(own.map(({ actor }) => actor.id)).toEqual(Array(count).fill("user-super_admin"));
    });
  });

  test("H05: of one record honours a stale If-Match with 412 and the present ETag", async () => {
    const token = api.admin("super_admin");
    const changing = (route: Route) => isMutation(route) && route.path.includes(":");
    await everyRoute(changing, async (route) => {
      const ids = await prepare(api, route);
      const json = bodyOf(route);
      const sent = { token, headers: { "if-match": '"1"' }, ...(json ? { json } : {}) };
      const answer = await api.send(route.method, pathOf(route, ids), sent);
      expectProblem(answer, 412, "precondition_failed");
      expect(answer.headers.get("etag")).toBe(`"${answer.body.currentVersion}"`);
      const again = await api.send(route.method, pathOf(route, ids), {
        ...sent,
        headers: { "if-match": `W/"1", ${answer.headers.get("etag")}` },
      });
      expect(again.status, again.text).toBeLessThan(300);
    });
  });
});
