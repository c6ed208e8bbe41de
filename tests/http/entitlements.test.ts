import { describe, expect, test } from "vitest";
import { expectProblem, useApi } from "./support/api.ts";

const api = useApi();
const MINUTE = 60_000;

async function hotel() {
  const { id } = await api.tenant({ plan: "Basic" });
  return { id, path: `/v1/tenants/${id}/entitlements`, grants: `/v1/tenants/${id}/grants`, token: api.admin("admin") };
}

test("B04: a tenant's users read its entitlements with the source of each, also while it is suspended", async () => {
  const { id, path, grants, token } = await hotel();
  const json = { kind: "feature", key: "sso", value: true, source: "trial", reason: "A pilot." };
  const made = await api.send("POST", grants, { token, json });
  expect(made.status, made.text).toBe(201);
  expect(made.headers.get("location")).toBe(`${grants}/${made.body.id as string}`);
  const viewer = await api.user(id, "viewer");
  const read = await api.send("GET", path, { token: viewer });
  expect(read.status, read.text).toBe(200);
  expect(read.body).toMatchObject({ tenantId: id, revision: 2, active: true, planId: "Basic", planVersion: 1 });
  expect(read.body.features).toContainEqual({ key: "sso", source: "trial", grantIds: [made.body.id] });
  expect(read.body.limits).toContainEqual({ key: "rooms", limit: 60, source: "plan" });
  expect((await api.send("GET", grants, { token: viewer })).body.data).toMatchObject([{ id: made.body.id, reason: "A pilot." }]);
  await api.services.TenantService.suspend(id, "unpaid");
  const suspended = (await api.send("GET", path, { token: viewer })).body;
  expect(suspended).toMatchObject({ revision: 3, active: false, features: read.body.features });
  const one = await api.send("GET", `${path}/check?key=sso`, { token: viewer });
  expect(one.body).toMatchObject({ kind: "feature", allowed: false, active: false, source: "trial" });
});

test("B05: one request checks one feature or limit", async () => {
  const { path, token } = await hotel();
  const of = async (key: string) => (await api.send("GET", `${path}/check?key=${key}`, { token })).body;
  expect(await of("front-desk")).toMatchObject({ key: "front-desk", kind: "feature", allowed: true, source: "plan", active: true });
  expect(await of("no%20such%2Ffeature")).toMatchObject({ key: "no such/feature", kind: "feature", allowed: false, source: "plan" });
  expect(await of("rooms")).toMatchObject({ kind: "limit", limit: 60, source: "plan" });
  expect(await of("rooms&kind=feature")).toMatchObject({ kind: "feature", allowed: false });
  expect(await of("customDomains&kind=limit")).toMatchObject({ kind: "limit", limit: 0 });
  await api.services.MetricService.create({ id: "spas", name: "Spas", unit: "spas", kind: "gauge" });
  expect(await of("spas&kind=limit")).toMatchObject({ kind: "limit", limit: null, source: "plan" });
  expectProblem(await api.send("GET", `${path}/check?key=spa&kind=limit`, { token }), 404, "not_found");
  expectProblem(await api.send("GET", `${path}/check?key=rooms&kind=flag`, { token }), 400, "invalid_parameter");
  expectProblem(await api.send("GET", `${path}/check`, { token }), 400, "invalid_parameter");
  expectProblem(await api.send("GET", "/v1/tenants/tn_none/entitlements", { token }), 404, "not_found");
  expectProblem(await api.send("GET", "/v1/tenants/tn_none/entitlements/check?key=sso", { token }), 404, "not_found");
});

test("B04: the ETag changes with every change, and when a grant expires", async () => {
  const { path, grants, token } = await hotel();
  const etags: (string | null)[] = [];
  const read = async (one = path) => {
    const known = etags.at(-1);
    const answer = await api.send("GET", one, { token, ...(known ? { headers: { "if-none-match": known } } : {}) });
    if (answer.status === 200) etags.push(answer.headers.get("etag"));
    return answer.status;
  };
  expect([await read(), await read(), await read(`${path}/check?key=rooms`)]).toEqual([200, 304, 304]);
  const expiresAt = api.clock.iso(MINUTE);
  await api.send("POST", grants, { token, json: { kind: "limit", key: "rooms", value: 1, expiresAt } });
  expect([await read(), await read()]).toEqual([200, 304]);
  api.clock.advance(MINUTE);
  expect([await read(), await read(), await read(`${path}/check?key=rooms`)]).toEqual([200, 304, 304]);
  expect(new Set(etags).size).toBe(3);
});

describe("bad input", () => {
  const feature = { kind: "feature", key: "sso", value: true };
  const limit = { kind: "limit", key: "rooms", value: 1 };
  test.each<[string, Record<string, unknown>, readonly string[]]>([
    ["no value", { kind: "limit", key: "rooms" }, ["/value"]],
    ["an amount for a feature", { ...feature, value: 1 }, ["/value"]],
    ["null for a feature", { ...feature, value: null }, ["/value"]],
    ["true for a limit", { ...limit, value: true }, ["/value"]],
    ["a fraction", { ...limit, value: 0.5 }, ["/value"]],
    ["a negative amount", { ...limit, value: -1 }, ["/value"]],
    ["an amount above the highest", { ...limit, value: 1e15 + 1 }, ["/value"]],
    ["a feature taken away without an override", { ...feature, value: false }, ["/value"]],
    ["a limit of no metric", { ...limit, key: "spa" }, ["/key"]],
    ["no key", { ...feature, key: "" }, ["/key"]],
    ["another kind", { ...feature, kind: "flag" }, ["/kind"]],
    ["the plan as its source", { ...feature, source: "plan" }, ["/source"]],
    ["an end in the past", { ...feature, expiresAt: "2026-01-01T00:00:00.000Z" }, ["/expiresAt"]],
    ["an end that is no instant", { ...feature, expiresAt: "tomorrow" }, ["/expiresAt"]],
    ["another tenant", { ...feature, tenantId: "tn_2" }, ["/tenantId"]],
  ])("B04: a grant with %s is 422, names the field, and makes no revision", async (_, json, paths) => {
    const { path, grants, token } = await hotel();
    const answer = await api.send("POST", grants, { token, json });
    expectProblem(answer, 422, "validation_failed");
    expect([...new Set(answer.body.errors.map(({ path }: { path: string }) => path))]).toEqual(paths);
    expect((await api.send("GET", path, { token })).body.revision).toBe(1);
  });

  test("B04: a patch cannot turn a grant into another one or end it in the past, and an owner cannot make one", async () => {
    const { id, grants, token } = await hotel();
    const { body } = await api.send("POST", grants, { token, json: feature });
    const one = `${grants}/${body.id as string}`;
    for (
      const json of [{ key: "api" }, { kind: "limit" }, { value: 1 }, { value: null }, { value: false }, { expiresAt: api.clock.iso() }]
    ) {
      expectProblem(await api.send("PATCH", one, { token, json }), 422, "validation_failed");
    }
    expect((await api.send("PATCH", one, { token, json: { value: false, source: "override" } })).status).toBe(200);
    const owner = await api.user(id, "owner");
    expectProblem(await api.send("POST", grants, { token: owner, json: feature }), 403, "insufficient_scope");
    expectProblem(await api.send("DELETE", one, { token: owner }), 403, "insufficient_scope");
    expectProblem(await api.send("PATCH", one, { token: owner, json: { value: true } }), 403, "insufficient_scope");
    expect((await api.send("DELETE", one, { token })).status).toBe(204);
    expectProblem(await api.send("POST", "/v1/tenants/tn_none/grants", { token, json: feature }), 404, "not_found");
  });
});
