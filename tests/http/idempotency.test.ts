import { beforeAll, describe, expect, test } from "vitest";
import { isMutation, type Route } from "../../shared/core/route.ts";
import type { Store } from "../../shared/kv/store.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import { withClient } from "../support/client.ts";
import { type Answer, expectProblem, useApi } from "./support/api.ts";
import { shownAgain } from "./support/battery.ts";
import { bodyOf, pathOf, prepare } from "./support/samples.ts";

const api = useApi();
const HOUR_MS = 3_600_000;

let root: string;
let second: string;

beforeAll(async () => {
  root = api.admin("super_admin");
  await api.services.AdminUserService.create({ userId: "second", email: "second@innkeep.example", name: "Two", role: "super_admin" });
  second = await api.signer.sign("second");
});

const keyed = (key: string, token = root) => ({ token, headers: { "idempotency-key": key } });

function expectReplay(first: Answer, again: Answer, shown = first.text): void {
  expect(first.status, first.text).toBeLessThan(300);
  expect(first.headers.get("idempotent-replayed")).toBeNull();
  expect(again.headers.get("idempotent-replayed"), again.text).toBe("true");
  expect({ status: again.status, text: again.text }).toEqual({ status: first.status, text: shown });
  for (const name of ["etag", "location", "content-type"]) expect(again.headers.get(name), name).toBe(first.headers.get(name));
}

async function written(): Promise<{ readonly audit: number; readonly events: number }> {
  const [audit, events] = await Promise.all([api.auditCount(), api.open.store.count("outbox")]);
  return { audit, events };
}

async function everyMutation(check: (route: Route, key: string) => Promise<void>, routes = api.routes.filter(isMutation)): Promise<void> {
  expect(routes.length).toBeGreaterThan(10);
  for (const route of routes) {
    try {
      await check(route, `key-of-${route.operationId}`);
    } catch (error) {
      throw new Error(`${route.method} ${route.path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
}

/** Routes of many commits, each safe to repeat. The last one records the key, so a repeat after a lost one runs again. */
const MANY_COMMITS = new Set(["runRetention", "applyConfiguration"]);

/** The first of each method and scope that changes something. The battery repeats a call of every route. */
const oneOfEach = () => {
  const routes = api.routes.filter(isMutation);
  return routes.filter(({ method, scope }, i) => routes.findIndex((other) => other.method === method && other.scope === scope) === i);
};

describe("a route that changes something", () => {
  test("H03: returns the first response to a repeat with its key; another body or caller is another request", async () => {
    await everyMutation(async (route, key) => {
      const ids = await prepare(api, route);
      const json = bodyOf(route, ids);
      const sent = { ...keyed(key), ...(json ? { json } : {}) };
      const first = await api.send(route.method, pathOf(route, ids), sent);
      const before = await written();
      expectReplay(first, await api.send(route.method, pathOf(route, ids), sent), shownAgain(route, first));
      expectReplay(first, await api.send(route.method, pathOf(route, ids), sent), shownAgain(route, first));
      expect(await written()).toEqual(before);
      const elsewhere = await api.send(route.method, pathOf(route, ids), { ...sent, token: second });
      expect(elsewhere.headers.get("idempotent-replayed")).toBeNull();
      expect(elsewhere.body?.code, elsewhere.text).not.toBe("idempotency_mismatch");
      if (json && typeof route.sample?.body === "function") {
        expectProblem(await api.send(route.method, pathOf(route, ids), { ...sent, json: bodyOf(route, ids) }), 422, "idempotency_mismatch");
      }
    }, oneOfEach());
  });

  test("H03: returns the lost response to a repeat when the first response was lost after the commit", async () => {
    const losing = await api.over(lostCommits(api.open.store));
    await everyMutation(async (route, name) => {
      if (MANY_COMMITS.has(route.operationId)) return;
      const key = `lost-${name}`;
      const ids = await prepare(api, route);
      const json = bodyOf(route, ids);
      const sent = { ...keyed(key), ...(json ? { json } : {}) };
      const at = await written();
      expectProblem(await losing(route.method, pathOf(route, ids), sent), 503, "commit_unknown");
      const done = await written();
      const again = await api.send(route.method, pathOf(route, ids), sent);
      expect({ status: again.status < 300, replayed: again.headers.get("idempotent-replayed") }, again.text)
        .toEqual({ status: true, replayed: "true" });
      expect(await written()).toEqual(done);
      if (route.sample?.auditEntries !== 0) expect(done.audit).toBeGreaterThan(at.audit);
      if (again.body?.version !== undefined) expect(again.headers.get("etag")).toBe(`"${again.body.version}"`);
    });
  });

  test("H22: refuses a key that is not 1 to 255 visible ASCII characters with 400, and names the header", async () => {
    const keys = ["k".repeat(256), "two words", "", "caf\u00e9", "tab\there"];
    const { id } = await api.tenant();
    let turn = 0;
    await everyMutation(async (route) => {
      // One place checks them: the first route gets all, and each other route one.
      for (const bad of turn === 0 ? keys : keys.slice(turn % keys.length, turn % keys.length + 1)) {
        const json = bodyOf(route);
        const answer = await api.send(route.method, pathOf(route, { tenantId: id }), { ...keyed(bad), ...(json ? { json } : {}) });
        expectProblem(answer, 400, "invalid_parameter");
        expect(answer.body.errors).toMatchObject([{ path: "Idempotency-Key" }]);
      }
      turn++;
    });
  });
});

/** A store that commits and then throws `commit_unknown`. */
function lostCommits(store: Store): Store {
  return new Proxy(store, {
    get(target, name) {
      if (name === "forTenant") return (tenantId: string) => lostCommits(target.forTenant(tenantId));
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== "function") return value;
      if (name !== "commit") return value.bind(target) as unknown;
      return async (...given: Parameters<Store["commit"]>) => {
        const result = await target.commit(...given);
        if (!result.ok) return result;
        throw new InnkeepError("commit_unknown", "the answer was lost");
      };
    },
  });
}

describe("a request with a key", () => {
  test("H03: that was used with another path, query, tenant or route is refused with 422", async () => {
    const [a, b] = [await api.tenant(), await api.tenant()];
    const first = { ...keyed("one-request"), json: { reason: "unpaid" } };
    expect((await api.send("POST", `/v1/tenants/${a.id}/suspend`, first)).status).toBe(200);
    const before = await written();
    const others: [string, string, object?][] = [
      ["POST", `/v1/tenants/${b.id}/suspend`, { reason: "unpaid" }],
      ["POST", `/v1/tenants/${a.id}/suspend`, { reason: "other" }],
      ["POST", `/v1/tenants/${a.id}/cancel`],
      ["DELETE", `/v1/tenants/${a.id}`],
      ["PATCH", `/v1/tenants/${a.id}`, { name: "Other" }],
    ];
    for (const [method, path, json] of others) {
      expectProblem(await api.send(method, path, { ...keyed("one-request"), ...(json ? { json } : {}) }), 422, "idempotency_mismatch");
    }
    expect(await written()).toEqual(before);
    expect((await api.send("DELETE", `/v1/tenants/${b.id}?dryRun=true`, keyed("dry"))).status).toBe(200);
    expectProblem(await api.send("DELETE", `/v1/tenants/${b.id}`, keyed("dry")), 422, "idempotency_mismatch");
    // A request with members in another order, or a full key for a short id, is the same request.
    const again = await api.send("POST", `/v1/tenants/tenant:${a.id}/suspend`, first);
    expect(again.headers.get("idempotent-replayed")).toBe("true");
  });

  test("H03: returns the first response although the record has changed, whatever If-Match says", async () => {
    const { id, version } = await api.tenant();
    const sent = { token: root, headers: { "idempotency-key": "moved", "if-match": `"${version}"` }, json: { name: "First" } };
    const first = await api.send("PATCH", `/v1/tenants/${id}`, sent);
    await api.services.TenantService.update(id, { name: "Second" });
    expectReplay(first, await api.send("PATCH", `/v1/tenants/${id}`, sent));
    expect((await api.services.TenantService.get(id))?.name).toBe("Second");
    expect((await api.send("GET", `/v1/tenants/${id}`, { token: root })).headers.get("etag")).not.toBe(first.headers.get("etag"));
  });

  test("H03: that changed nothing is kept, so its repeat changes nothing either", async () => {
    const { id } = await api.tenant({ name: "Same" });
    const sent = { ...keyed("no-change"), json: { name: "Same" } };
    const first = await api.send("PATCH", `/v1/tenants/${id}`, sent);
    await api.services.TenantService.update(id, { name: "Other" });
    expectReplay(first, await api.send("PATCH", `/v1/tenants/${id}`, sent));
    expect((await api.services.TenantService.get(id))?.name).toBe("Other");
  });

  test("H03: that failed is not kept, and its repeat runs again", async () => {
    const { id } = await api.tenant();
    await api.services.TenantService.cancel(id);
    const send = () => api.send("POST", `/v1/tenants/${id}/suspend`, { ...keyed("failed"), json: { reason: "unpaid" } });
    expectProblem(await send(), 409, "invalid_transition");
    await api.services.TenantService.reactivate(id);
    const done = await send();
    expect({ status: done.status, replayed: done.headers.get("idempotent-replayed") }).toEqual({ status: 200, replayed: null });
    const remove = () => api.send("DELETE", "/v1/plans/Later", keyed("missing"));
    expectProblem(await remove(), 404, "not_found");
    const json = { ...bodyOf(routeOf("createPlan")), name: "Later" };
    expect((await api.send("POST", "/v1/plans", { token: root, json })).status).toBe(201);
    expect((await remove()).status).toBe(204);
  });

  test("H03: is kept for 24 hours", async () => {
    const { id } = await api.tenant();
    const path = `/v1/tenants/${id}/usage/api_calls/increment`;
    const send = async () =>
      (await api.send("POST", path, { ...keyed("day", await api.signer.sign("user-super_admin")), json: { amount: 5 } })).body;
    expect((await send()).current).toBe(5);
    api.clock.advance(24 * HOUR_MS - 1);
    expect((await send()).current).toBe(5);
    api.clock.advance(1);
    expect((await send()).current).toBe(10);
    root = await api.signer.sign("user-super_admin");
  });

  test("H03: is refused when the caller has lost the right since", async () => {
    await api.services.AdminUserService.create({ userId: "leaving", email: "leaving@innkeep.example", name: "Lea", role: "admin" });
    const leaving = { ...keyed("mine", await api.signer.sign("leaving")), json: { name: "Theirs" } };
    const { id } = await api.tenant();
    const send = () => api.send("PATCH", `/v1/tenants/${id}`, leaving);
    expect((await send()).status).toBe(200);
    await api.services.AdminUserService.update("leaving", { role: "read_only" });
    expectProblem(await send(), 403, "insufficient_scope");
    await api.services.AdminUserService.delete("leaving");
    expect((await send()).status).toBeGreaterThanOrEqual(400);
    const owner = { ...keyed("mine", await api.user(id, "owner")), json: { name: "Ours" } };
    expect((await api.send("PATCH", `/v1/tenants/${id}`, owner)).status).toBe(200);
    await api.services.TenantService.suspend(id, "unpaid");
    expectProblem(await api.send("PATCH", `/v1/tenants/${id}`, owner), 403, "tenant_suspended");
  });

  test("H03: of a tenant's user is deleted with the tenant; one of a platform admin's deletion is kept", async () => {
    const { id } = await api.tenant();
    const sent = { ...keyed("bound", await api.user(id, "owner")), json: { name: "Bound" } };
    expectReplay(await api.send("PATCH", `/v1/tenants/${id}`, sent), await api.send("PATCH", `/v1/tenants/${id}`, sent));
    const owned = async () => (await api.open.store.list({ prefix: "idem", limit: 500 })).entries.filter(({ tenantId }) => tenantId === id);
    expect(await owned()).toHaveLength(1);
    const first = await api.send("DELETE", `/v1/tenants/${id}`, keyed("the-end"));
    expect(first.body.removed).toMatchObject({ tenant: 1, "idempotency-record": 1 });
    expect(await owned()).toEqual([]);
    expectReplay(first, await api.send("DELETE", `/v1/tenants/${id}`, keyed("the-end")));
  });

  test("H03: of a tenant deleted meanwhile returns 404 and creates nothing; a repeated deletion returns its report", async () => {
    const sent = { ...keyed("made-then-deleted"), json: bodyOf(routeOf("createTenant")) };
    const made = await api.send("POST", "/v1/tenants", sent);
    const path = `/v1/tenants/${made.body.id}`;
    const counted = () => api.send("POST", `${path}/usage/rooms/increment`, { ...keyed("counted-then-deleted"), json: { amount: 2 } });
    expectReplay(await counted(), await counted());
    const deleted = await api.send("DELETE", path, keyed("delete-it"));
    const before = await api.open.store.count("tenant");
    expectProblem(await api.send("POST", "/v1/tenants", sent), 404, "not_found");
    expectProblem(await counted(), 404, "not_found");
    expect(await api.open.store.count("tenant")).toBe(before);
    expectReplay(deleted, await api.send("DELETE", path, keyed("delete-it")));
  });

  test("H03: is ignored if the request only reads", async () => {
    const { id } = await api.tenant();
    const before = await api.open.store.count("idem");
    for (const path of [`/v1/tenants/${id}`, "/v1/plans", "/v1/me"]) {
      for (let i = 0; i < 2; i++) {
        const answer = await api.send("GET", path, keyed("read only, no key at all"));
        expect({ status: answer.status, replayed: answer.headers.get("idempotent-replayed") }).toEqual({ status: 200, replayed: null });
      }
    }
    expect(await api.open.store.count("idem")).toBe(before);
  });
});

describe("several requests with one key at once", () => {
  test("H03: get 409 with Retry-After while the first runs, and its response afterwards", async () => {
    const { id } = await api.tenant();
    const send = () => api.send("PATCH", `/v1/tenants/${id}`, { ...keyed("in-flight"), json: { name: "Flying" } });
    const first = await withClient(api.open.database.superUrl, async (client) => {
      await client.query("begin");
      await client.query("select from kv.entries where key = $1 for update", [`tenant:${id}`]);
      const running = send();
      await expect.poll(async () => (await client.query("select from pg_stat_activity where wait_event_type = 'Lock'")).rowCount)
        .toBeGreaterThan(0);
      const refused = await send();
      expectProblem(refused, 409, "idempotency_in_progress");
      expect(refused.headers.get("retry-after")).toMatch(/^\d+$/);
      await client.query("commit");
      return await running;
    });
    expectReplay(first, await send());
  });

  test("H03: 16 sent to 4 processes have one effect and one response", async () => {
    const processes = await Promise.all((await api.open.racers(4)).map((store) => api.over(store)));
    const tenants = () => api.open.store.count("tenant");
    for (let round = 0; round < 5; round++) {
      const { id } = await api.tenant();
      const json = { ...bodyOf(routeOf("createTenant")), subdomain: `sixteen-${round}` };
      const [before, wrote] = [await tenants(), await written()];
      const sends = (method: string, path: string, body: object) =>
        processes.flatMap((send) => Array.from({ length: 4 }, () => send(method, path, { ...keyed(`${method}-${round}`), json: body })));
      const [made, named] = await Promise.all([
        Promise.all(sends("POST", "/v1/tenants", json)),
        Promise.all(sends("PATCH", `/v1/tenants/${id}`, { name: "Named once" })),
      ]);
      expect(await tenants()).toBe(before + 1);
      expect((await written()).audit).toBe(wrote.audit + 2);
      for (const answers of [made, named]) {
        const done = answers.filter(({ status }) => status < 300);
        expect(new Set(done.map(({ text, headers }) => `${headers.get("etag")} ${text}`)).size).toBe(1);
        expect(done.filter(({ headers }) => headers.get("idempotent-replayed") === null)).toHaveLength(1);
        expect(done.length).toBeGreaterThanOrEqual(4);
        for (const answer of answers.filter(({ status }) => status >= 300)) expectProblem(answer, 409, "idempotency_in_progress");
      }
    }
  });

  test("H04: 200 creations with one key, sent to 4 processes at once, create one tenant; all 201 responses are identical", async () => {
    const processes = await Promise.all((await api.open.racers(4)).map((store) => api.over(store)));
    const before = await api.open.store.count("tenant");
    const sent = { ...keyed("one-tenant"), json: bodyOf(routeOf("createTenant")) };
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => processes[i % 4]?.("POST", "/v1/tenants", sent)));
    expect(await api.open.store.count("tenant")).toBe(before + 1);
    const done = answers.filter((answer) => answer?.status === 201);
    expect(new Set(done.map((answer) => answer?.text)).size).toBe(1);
    for (const answer of answers) if (answer && answer.status !== 201) expectProblem(answer, 409, "idempotency_in_progress");
    expect((await processes[0]?.("POST", "/v1/tenants", sent))?.text).toBe(done[0]?.text);
  });
});

function routeOf(operationId: string): Route {
  const route = api.routes.find((one) => one.operationId === operationId);
  if (!route) throw new Error(`there is no ${operationId}`);
  return route;
}
