import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../support/random.ts";
import { expectProblem, useApi } from "./support/api.ts";
import { bodyOf, pathOf, prepare } from "./support/samples.ts";

const api = useApi();
const { seed } = seededRandom("merge patch over HTTP");
const token = () => api.admin("super_admin");
const patch = (id: string, json: unknown, headers: Record<string, string> = {}) =>
  api.send("PATCH", `/v1/tenants/${id}`, { token: token(), json, headers });

describe("conditional requests", () => {
  test("H05: a record has its version as ETag, and If-None-Match with it returns 304 without a body", async () => {
    const { id, version } = await api.tenant();
    for (
      const path of [
        `/v1/tenants/${id}`,
        `/v1/tenants/${id}/subscription`,
        `/v1/tenants/${id}/usage/rooms`,
        "/v1/plans/Pro",
        "/v1/admins/user-admin",
      ]
    ) {
      const first = await api.send("GET", path, { token: token() });
      const etag = first.headers.get("etag") ?? "";
      expect(etag).toBe(`"${first.body.version}"`);
      expect(first.headers.get("cache-control")).toBe("private, no-cache");
      for (const header of [etag, `W/${etag}`, `"0", ${etag}`, "*"]) {
        const again = await api.send("GET", path, { token: token(), headers: { "if-none-match": header } });
        expect([again.status, again.text, again.headers.get("etag")]).toEqual([304, "", etag]);
      }
      expect((await api.send("GET", path, { token: token(), headers: { "if-none-match": '"0"' } })).status).toBe(200);
    }
    expect(version).toMatch(/^\d+$/);
  });

  test("T03: a patch with the current version is applied; one with a stale version returns 412 with the current ETag", async () => {
    const { id, version } = await api.tenant();
    const first = await patch(id, { name: "First" }, { "if-match": `"${version}"` });
    expect(first.status).toBe(200);
    const stale = await patch(id, { name: "Second" }, { "if-match": `"${version}"` });
    expectProblem(stale, 412, "precondition_failed");
    expect(stale.headers.get("etag")).toBe(first.headers.get("etag"));
    expect((await api.send("GET", `/v1/tenants/${id}`, { token: token() })).body.name).toBe("First");
    for (const header of ["*", `"1", ${first.headers.get("etag")}`]) {
      expect((await patch(id, { name: `By ${header}` }, { "if-match": header })).status).toBe(header === "*" ? 200 : 412);
    }
    expectProblem(await patch(id, { name: "x" }, { "if-match": `W/"${version}"` }), 412, "precondition_failed");
    expectProblem(await patch(id, { name: "x" }, { "if-match": version }), 400, "invalid_parameter");
  });

  test("H05: any If-Match on a missing record returns 412 without an ETag", async () => {
    const token = api.admin("super_admin");
    const { id } = await api.tenant();
    const json = { period: "2026-02" };
    for (const match of ["*", '"1"']) {
      const headers = { "if-match": match };
      const answer = await api.send("POST", `/v1/tenants/${id}/usage/bookings/increment`, { token, json, headers });
      expectProblem(answer, 412, "precondition_failed");
      expect(answer.body).toMatchObject({ currentVersion: null });
    }
  });

  test("H05: usage has another ETag when its metric's unit is renamed, and a change based on the old unit answers 412", async () => {
    const { id } = await api.tenant();
    const metric = { id: "laundry", name: "Laundry", unit: "kg", kind: "gauge" };
    expect((await api.send("POST", "/v1/metrics", { token: token(), json: metric })).status).toBe(201);
    const path = `/v1/tenants/${id}/usage/laundry`;
    const put = (value: number, etag: string) => api.send("PUT", path, { token: token(), json: { value }, headers: { "if-match": etag } });
    const get = (etag: string) => api.send("GET", path, { token: token(), headers: { "if-none-match": etag } });
    const first = await api.send("PUT", path, { token: token(), json: { value: 5 } });
    const before = first.headers.get("etag") ?? "";
    expect((await get(before)).status).toBe(304);
    api.clock.advance(1);
    await api.send("PATCH", "/v1/metrics/laundry", { token: token(), json: { unit: "tonnes" } });
    const renamed = await get(before);
    const etag = renamed.headers.get("etag") ?? "";
    expect([renamed.status, renamed.body.unit, etag === before]).toEqual([200, "tonnes", false]);
    expect(etag).toBe(`"${renamed.body.version}"`);
    expect((await get(etag)).status).toBe(304);
    const stale = await put(6, before);
    expectProblem(stale, 412, "precondition_failed");
    expect(stale.headers.get("etag")).toBe(etag);
    const changed = await put(6, etag);
    expect([changed.status, changed.body.current]).toEqual([200, 6]);
    expectProblem(await put(7, etag), 412, "precondition_failed");
    expect((await put(7, "*")).status).toBe(200);
  });

  test("H05: a put with If-None-Match: * only creates, and answers 412 with the present ETag where there is a record", async () => {
    const { id } = await api.tenant({ plan: "Basic" });
    const subscription = await api.send("GET", `/v1/tenants/${id}/subscription`, { token: token() });
    const put = (path: string, json: object, header: string) =>
      api.send("PUT", `/v1/tenants/${id}/${path}`, { token: token(), json, headers: { "if-none-match": header } });
    for (const header of ["*", `"0", W/${subscription.headers.get("etag")}`]) {
      const refused = await put("subscription", { planId: "Pro" }, header);
      expectProblem(refused, 412, "precondition_failed");
      expect(refused.headers.get("etag")).toBe(subscription.headers.get("etag"));
    }
    expect((await api.send("GET", `/v1/tenants/${id}/subscription`, { token: token() })).text).toBe(subscription.text);
    expectProblem(await put("subscription", { planId: "Pro" }, "42"), 400, "invalid_parameter");
    expect((await put("subscription", { planId: "Pro" }, '"0"')).status).toBe(200);
    for (const metric of ["rooms", "api_calls"]) {
      const place = { value: 3, period: "2026-02" };
      const made = await Promise.all([1, 2, 3, 4].map((value) => put(`usage/${metric}`, { ...place, value }, "*")));
      expect(made.map(({ status }) => status).toSorted(), metric).toEqual([200, 412, 412, 412]);
      expectProblem(await put(`usage/${metric}`, place, "*"), 412, "precondition_failed");
    }
  });

  test("T03: concurrent patches without If-Match of different fields are all kept", async () => {
    const { id } = await api.tenant();
    const answers = await Promise.all(Array.from({ length: 4 }, (_, i) => patch(id, { settings: { [`k${i}`]: i } })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect((await api.send("GET", `/v1/tenants/${id}`, { token: token() })).body.settings).toEqual({ k0: 0, k1: 1, k2: 2, k3: 3 });
  });
});

describe("merge patch", () => {
  test("H06: null removes an optional field; a required one cannot be removed", async () => {
    const { id } = await api.tenant({ region: "eu-west-1", branding: { logoUrl: "https://a.example/l.png", primaryColor: "#001122" } });
    const cleared = await patch(id, { region: null, branding: { logoUrl: null } });
    expect(cleared.status, cleared.text).toBe(200);
    expect(cleared.body).not.toHaveProperty("region");
    expect(cleared.body.branding).toEqual({ primaryColor: "#001122" });
    expectProblem(await patch(id, { name: null }), 422, "validation_failed");
  });

  test("H06: only PATCH accepts application/merge-patch+json", async () => {
    const { id } = await api.tenant();
    const headers = { "content-type": "application/merge-patch+json; charset=utf-8" };
    expect((await api.send("PATCH", `/v1/tenants/${id}`, { token: token(), raw: '{"name":"By patch"}', headers })).body.name).toBe(
      "By patch",
    );
    expectProblem(
      await api.send("POST", `/v1/tenants/${id}/suspend`, { token: token(), raw: '{"reason":"x"}', headers }),
      415,
      "unsupported_media_type",
    );
  });

  test("H06: ids, times, hashes and computed fields in a body are refused with a pointer to each", async () => {
    const { id } = await api.tenant();
    const fields = [
      "id",
      "createdAt",
      "updatedAt",
      "created",
      "version",
      "mrrSource",
      "usagePercent",
      "suspendedAt",
      "suspendedFrom",
      "cancelledAt",
    ];
    const answer = await patch(id, Object.fromEntries(fields.map((field) => [field, "x"])));
    expectProblem(answer, 422, "validation_failed");
    expect(answer.body.errors.map(({ path }: { path: string }) => path).sort()).toEqual(fields.map((field) => `/${field}`).sort());
  });

  test("H06: any series of patches gives the result of RFC 7396", async () => {
    const { id } = await api.tenant();
    let expected: unknown = {};
    const name = fc.stringMatching(/^[a-z~/ é]{1,6}$/);
    const value = fc.jsonValue({ maxDepth: 2, noUnicodeString: false }).filter((json) => isSafe(json));
    const run = fc.asyncProperty(fc.dictionary(name, value, { maxKeys: 4 }), async (change) => {
      const answer = await patch(id, { settings: change });
      expect(answer.status, answer.text).toBe(200);
      expected = merged(expected, JSON.parse(JSON.stringify(change)));
      expect(answer.body.settings).toEqual(expected);
    });
    await fc.assert(run, { seed, numRuns: 60, endOnFailure: true });
  });
});

test("H05: every route that documents 412 returns it for a stale If-Match and changes nothing, and no other route does", async () => {
  const document = (await api.send("GET", "/openapi.json")).body as unknown as Document;
  const checked: string[] = [];
  for (const route of api.routes.filter(({ method }) => method !== "GET")) {
    const ids = await prepare(api, route);
    const json = bodyOf(route);
    const before = await api.auditCount();
    const sent = { token: token(), headers: { "if-match": '"0"' }, ...(json ? { json } : {}) };
    const { status } = await api.send(route.method, pathOf(route, ids), sent);
    const path = route.path.replaceAll(/:(\w+)/g, "{$1}");
    const isDocumented = document.paths[path]?.[route.method.toLowerCase()]?.responses["412"] !== undefined;
    expect([route.operationId, status === 412], route.path).toEqual([route.operationId, isDocumented]);
    if (!isDocumented) continue;
    expect(await api.auditCount(), route.path).toBe(before);
    checked.push(route.operationId);
  }
  expect(checked).toEqual(
    expect.arrayContaining(["putSubscription", "previewPlanChange", "payInvoice", "deleteGrant", "startPlanMigration"]),
  );
});

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly responses: Readonly<Record<string, unknown>> }>>>>;
}

/** The algorithm of RFC 7396 §2. */
function merged(target: unknown, change: unknown): unknown {
  if (typeof change !== "object" || change === null || Array.isArray(change)) return change;
  const result: Record<string, unknown> = typeof target === "object" && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(change)) {
    if (value === null) delete result[name];
    else result[name] = merged(result[name], value);
  }
  return result;
}

/** JSON values that the store accepts and JSON preserves: no -0, unsafe integers or names of Object.prototype. */
function isSafe(json: unknown): boolean {
  const text = JSON.stringify(json);
  const numbers = text.match(/-?\d+(\.\d+)?(e[+-]?\d+)?/gi) ?? [];
  return !/__proto__|\\u0000|\\ud[89a-f]/i.test(text) &&
    numbers.every((number) => Number.isSafeInteger(Number(number)) && !Object.is(Number(number), -0));
}
