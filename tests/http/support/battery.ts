import { describe, expect, test } from "vitest";
import { scopes } from "../../../shared/features/index.ts";
import { isMutation, pathParams, type Route } from "../../../shared/core/route.ts";
import { RESERVED_TENANT_IDS } from "../../../shared/kv/key.ts";
import { type Answer, expectProblem, type TestApi } from "./api.ts";
import { bodyOf, invalidBody, pathOf, prepare } from "./samples.ts";

export const isGuarded = (route: Route) => route.scope !== "public";
const takesBody = ({ method }: Route) => method !== "GET" && method !== "DELETE";
/** Whether the route creates a record, which has no version to compare. */
const creates = ({ method, responses }: Route) => method === "POST" && (responses[201] ?? responses[202]) !== undefined;
/** Whether the route changes one existing record. */
const changesOne = (route: Route) => isMutation(route) && route.path.includes(":") && !creates(route);

/** Calls `check` for each route and names the route in a failure. */
export async function eachRoute(routes: readonly Route[], check: (route: Route) => Promise<void>): Promise<void> {
  expect(routes.length).toBeGreaterThan(0);
  for (const route of routes) {
    try {
      await check(route);
    } catch (error) {
      throw new Error(`${route.method} ${route.path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
}

/** The tests that apply to every route, by its declaration and its sample. `of` selects the routes of one feature. */
export function routeBattery(api: TestApi, of: (route: Route) => boolean = () => true): void {
  const everyRoute = (keep: (route: Route) => boolean, check: (route: Route) => Promise<void>) =>
    eachRoute(api.routes.filter(of).filter(keep), check);
  describe("every route", () => {
    credentials(api, everyRoute, of);
    tenants(api, everyRoute);
    inputs(api, everyRoute);
    changes(api, everyRoute);
  });
}

/** The text of a response without the members that are shown only once. */
export function shownAgain({ shownOnce = [] }: Route, { text, body }: Answer): string {
  if (shownOnce.length === 0) return text;
  expect(Object.keys(body as object)).toEqual(expect.arrayContaining([...shownOnce]));
  return JSON.stringify(Object.fromEntries(Object.entries(body as object).filter(([name]) => !shownOnce.includes(name))));
}

type EveryRoute = (keep: (route: Route) => boolean, check: (route: Route) => Promise<void>) => Promise<void>;

function callerOf(api: TestApi) {
  return async (route: Route, ids: Readonly<Record<string, string>>, token: string | undefined, headers = {}): Promise<Answer> => {
    const json = bodyOf(route, ids);
    return await api.send(route.method, pathOf(route, ids), { token, headers, ...(json ? { json } : {}) });
  };
}

/** The routes that change only what the caller itself has read or prefers, or where it wants its notifications. */
const OWN_MARKS = [
  "markAllNotificationsRead",
  "putNotificationPreferences",
  "markNotificationRead",
  "putOwnEmailAddress",
  "deleteOwnEmailAddress",
];

function credentials(api: TestApi, everyRoute: EveryRoute, of: (route: Route) => boolean): void {
  const call = callerOf(api);

  test("R01: without a credential answers 401 with a challenge", async () => {
    const { id: tenantId } = await api.tenant();
    await everyRoute(isGuarded, async (route) => {
      const answer = await call(route, { tenantId }, undefined);
      expectProblem(answer, 401, "unauthenticated");
      expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="innkeep"');
    });
  });

  test("R01: with a credential that is no token answers 401 with invalid_token", async () => {
    const { id: tenantId } = await api.tenant();
    await everyRoute(isGuarded, async (route) => {
      const answer = await call(route, { tenantId }, "not.a.token");
      expectProblem(answer, 401, "unauthenticated");
      expect(answer.headers.get("www-authenticate")).toContain('error="invalid_token"');
    });
  });

  test("R13: refuses a caller without its scope with 403 and names the scope", async () => {
    const { id: tenantId } = await api.tenant();
    const people = [
      { held: scopes.ofAdmin("read_only"), token: api.admin("read_only") },
      { held: scopes.ofAdmin("support"), token: api.admin("support") },
      { held: scopes.ofTenant("viewer"), token: await api.user(tenantId, "viewer") },
    ];
    const keys = [await api.key(["read:plans"]), await api.key(["read:plans"], tenantId)];
    const callers = [...people, ...keys.map((token) => ({ held: new Set(["read:plans"]), token }))];
    const open: string[] = [];
    await everyRoute(isGuarded, async (route) => {
      const without = callers.filter(({ held }) => route.scope !== "caller" && route.scope !== "public" && !held.has(route.scope));
      for (const { token } of without) {
        const answer = await call(route, { tenantId }, token);
        expectProblem(answer, 403, "insufficient_scope");
        expect(answer.body.requiredScope).toBe(route.scope);
      }
      if (!people.some((person) => without.includes(person)) && isMutation(route)) open.push(route.operationId);
    });
    expect(open, "besides a person's own read marks and preferences, nothing that changes anything is open to all three roles").toEqual(
      OWN_MARKS.filter((operationId) => api.routes.some((route) => of(route) && route.operationId === operationId)),
    );
  });

  test("R13: for the platform alone refuses a tenant's owner, and a key with the owner's scopes, with 403", async () => {
    const { id: tenantId } = await api.tenant();
    const tokens = [await api.user(tenantId, "owner"), await api.key([...scopes.ofTenant("owner")], tenantId)];
    await everyRoute((route) => route.platformOnly === true, async (route) => {
      for (const token of tokens) expectProblem(await call(route, { tenantId }, token), 403, "forbidden");
    });
  });
}

function tenants(api: TestApi, everyRoute: EveryRoute): void {
  const call = callerOf(api);

  test("T14: of another tenant answers a tenant's owner and a tenant's key 404, whatever their rights", async () => {
    const [own, other] = [await api.tenant(), await api.tenant()];
    const tokens = [await api.user(own.id, "owner"), await api.key(["read:*", "write:*"], own.id)];
    await everyRoute(isGuarded, async (route) => {
      for (const token of tokens) {
        if (route.path.includes(":tenantId")) expectProblem(await call(route, { tenantId: other.id }, token), 404, "not_found");
        expectProblem(await call(route, { tenantId: own.id }, token, { "x-tenant-id": other.id }), 404, "not_found");
      }
    });
  });

  test("T14: of a record of another tenant answers 404 as if there were none, and leaves it", async () => {
    const own = await api.tenant();
    const token = await api.user(own.id, "owner");
    await everyRoute((route) => route.path.startsWith("/v1/tenants/:tenantId/") && pathParams(route.path).length > 1, async (route) => {
      const ids = await prepare(api, route);
      const reader = api.routes.find(({ method, path }) => method === "GET" && path === route.path) ?? route;
      const before = reader.method === "GET" ? await call(reader, ids, api.admin("super_admin")) : null;
      expectProblem(await call(route, ids, token), 404, "not_found");
      if (!before) return;
      expect((await call(reader, ids, api.admin("super_admin"))).text).toBe(before.text);
      if (before.body === undefined || before.body.version === null || route.sample?.params || route.responses[201]) return;
      const refused = scopes.ofTenant("owner").has(route.scope) ? "forbidden" : "insufficient_scope";
      const mayCall = refused === "forbidden" && !route.platformOnly;
      const answer = await call(route, { ...ids, tenantId: own.id }, token);
      expectProblem(answer, mayCall ? 404 : 403, mayCall ? "not_found" : refused);
    });
  });

  test("T08: of a suspended tenant answers its users and keys 403, but for what is declared open then", async () => {
    const { id: tenantId } = await api.tenant();
    const tokens = [await api.user(tenantId, "owner"), await api.key(["read:*", "write:*"], tenantId)];
    await api.services.TenantService.suspend(tenantId, "unpaid");
    await everyRoute(isGuarded, async (route) => {
      for (const token of tokens) {
        const answer = await call(route, { tenantId }, token);
        if (route.openWhenSuspended) {
          expect(answer.status, answer.text).toBe(pathParams(route.path).length > 1 ? 404 : creates(route) ? 202 : 200);
        } else expectProblem(answer, 403, "tenant_suspended");
      }
    });
  });

  test("K23: answers an id that no tenant can have, or that none has, with 404, to a change as to a read", async () => {
    const token = api.admin("super_admin");
    await everyRoute((route) => route.path.includes(":"), async (route) => {
      if (!route.path.includes(":tenantId")) return;
      for (const tenantId of [...RESERVED_TENANT_IDS, "tn_none"]) {
        const taken = api.routes.some(({ method, path }) => method === route.method && path === pathOf(route, { tenantId }));
        if (!taken) expectProblem(await call(route, { tenantId }, token), 404, "not_found");
      }
    });
  });
}

function inputs(api: TestApi, everyRoute: EveryRoute): void {
  test("H06: refuses an unknown field with 422, or 400 in OFREP, and a pointer", async () => {
    const { id: tenantId } = await api.tenant();
    await everyRoute(takesBody, async (route) => {
      const json = { ...bodyOf(route), "no/such": 1 };
      const answer = await api.send(route.method, pathOf(route, { tenantId }), { token: api.admin("super_admin"), json });
      expectProblem(answer, ...invalidBody(route));
      expect(answer.body.errors).toEqual([{ path: "/no~1such", message: "is not a known field", code: "unknown_field" }]);
    });
  });

  test("H22: refuses a body that is no object, not JSON, not of type JSON or too long", async () => {
    const { id: tenantId } = await api.tenant();
    const token = api.admin("super_admin");
    const json = { "content-type": "application/json" };
    const long = JSON.stringify({ name: "x".repeat(1024 * 1024) });
    await everyRoute(takesBody, async (route) => {
      const path = pathOf(route, { tenantId });
      // A list whose items are checked on their own is refused only as a whole.
      for (const value of [[], ...(route.checksItems ? [] : [[1]]), "text", 1, true, null]) {
        expectProblem(await api.send(route.method, path, { token, json: value }), ...invalidBody(route));
      }
      for (const raw of ["{", "{'a':1}", '{"a":1,}', "\ufffe", '"\u0000"']) {
        expectProblem(await api.send(route.method, path, { token, raw, headers: json }), 400, "invalid_json");
      }
      const text = { "content-type": "text/plain" };
      expectProblem(await api.send(route.method, path, { token, raw: "{}", headers: text }), 415, "unsupported_media_type");
      expectProblem(await api.send(route.method, path, { token, raw: long, headers: json }), 413, "payload_too_large");
    });
  });

  test("H22: refuses an unknown and a repeated parameter with 400", async () => {
    const { id: tenantId } = await api.tenant();
    await everyRoute(() => true, async (route) => {
      const path = pathOf(route, { tenantId });
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
    // They are checked in one place: each parameter gets three, and all parameters together get each of them many times.
    const malformed = ["a%3Ab", "tenant:a:b", "%25", "%00", "%2e%2e%2f", "a%20b", "%ff", "ü", "x".repeat(129), "*", "%F0%9F%8F%A8"];
    let turn = 0;
    const { id: tenantId } = await api.tenant();
    await everyRoute((route) => route.path.includes(":"), async (route) => {
      for (const name of pathParams(route.path)) {
        for (const bad of [0, 1, 2].map(() => malformed[turn++ % malformed.length] ?? "")) {
          const json = bodyOf(route);
          const answer = await api.send(route.method, pathOf(route, { tenantId, [name]: bad }), { token, ...(json ? { json } : {}) });
          expectProblem(answer, 404, "not_found");
        }
      }
    });
  });
}

function changes(api: TestApi, everyRoute: EveryRoute): void {
  const call = callerOf(api);

  test("A05: that changes something writes the audit entries it declares, one as a rule, with the request's id and caller", async () => {
    const token = api.admin("super_admin");
    await everyRoute(isMutation, async (route) => {
      const ids = await prepare(api, route);
      const before = await api.auditCount();
      api.clock.advance(1); // the newest entries are then this request's
      const requestId = `audit-${route.operationId}`;
      const answer = await call(route, ids, token, { "x-request-id": requestId });
      expect(answer.status, answer.text).toBeLessThan(300);
      const count = route.sample?.auditEntries ?? 1;
      expect(await api.auditCount() - before, route.operationId).toBe(count);
      const entries = await api.services.AuditService.list(undefined, { limit: 5 });
      const own = entries.data.filter((entry) => entry.requestId === requestId);
      expect(own.map(({ actor }) => actor.id)).toEqual(Array(count).fill("user-super_admin"));
    });
  });

  test("H05: of one record honours a stale If-Match with 412 and the present ETag", async () => {
    const token = api.admin("super_admin");
    await everyRoute(changesOne, async (route) => {
      const ids = await prepare(api, route);
      const answer = await call(route, ids, token, { "if-match": '"1"' });
      expectProblem(answer, 412, "precondition_failed");
      expect(answer.headers.get("etag")).toBe(`"${answer.body.currentVersion}"`);
      const again = await call(route, ids, token, { "if-match": `W/"1", ${answer.headers.get("etag")}` });
      expect(again.status, again.text).toBeLessThan(300);
    });
  });

  test("H03: sent again with its idempotency key is answered as before and changes nothing again", async () => {
    const token = api.admin("super_admin");
    await everyRoute(isMutation, async (route) => {
      const ids = await prepare(api, route);
      const json = bodyOf(route, ids);
      const headers = { "idempotency-key": `battery-${route.operationId}-${ids["tenantId"]}` };
      const send = () => api.send(route.method, pathOf(route, ids), { token, headers, ...(json ? { json } : {}) });
      const first = await send();
      expect(first.status, first.text).toBeLessThan(300);
      const entries = await api.auditCount();
      const again = await send();
      // A secret is shown only once.
      const repeated = shownAgain(route, first);
      expect([again.status, again.text]).toEqual([first.status, repeated]);
      for (const name of ["etag", "location", "content-type"]) expect(again.headers.get(name), name).toBe(first.headers.get(name));
      expect([first, again].map((answer) => answer.headers.get("idempotent-replayed"))).toEqual([null, "true"]);
      expect(await api.auditCount()).toBe(entries);
    });
  });
}
