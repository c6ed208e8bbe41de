import { describe, expect, test } from "vitest";
import { expectProblem, useApi } from "./support/api.ts";

const api = useApi();
const get = (path: string) => api.send("GET", path, { token: api.admin("super_admin") });

describe("an empty parameter", () => {
  test("H13: counts as absent, on every route with parameters", async () => {
    const { id } = await api.tenant();
    const pairs = [
      ["/v1/tenants?status=&plan=&search=&sort=&limit=&page=&cursor=&mrrFrom=&createdFrom=", "/v1/tenants"],
      ["/v1/tenants?status=active&plan=", "/v1/tenants?status=active"],
      ["/v1/tenants?status=&status=active", "/v1/tenants?status=active"],
      ["/v1/audit?tenantId=&action=&from=", "/v1/audit"],
      [`/v1/tenants/${id}/usage?period=`, `/v1/tenants/${id}/usage`],
    ] as const;
    for (const [empty, absent] of pairs) {
      const [given, without] = [await get(empty), await get(absent)];
      expect([given.status, given.body.data], empty).toEqual([200, without.body.data]);
    }
  });

  test("H13: is reported as missing if the parameter is required", async () => {
    expectProblem(await get("/v1/tenants/resolve?id="), 400, "invalid_parameter");
  });

  test("H13: with an unknown name is refused like one with a value", async () => {
    for (const query of ["colour=", "colour", "Status=", "status%00="]) {
      const answer = await get(`/v1/tenants?${query}`);
      expectProblem(answer, 400, "invalid_parameter");
      expect(answer.body.errors).toMatchObject([{ code: "unknown_parameter" }]);
    }
    expectProblem(await get("/v1/me?x="), 400, "invalid_parameter");
  });
});

test("H01: the error of an id that is not found names the resource in words", async () => {
  const answer = await api.send("DELETE", "/v1/jobs/dead/nope", { token: api.admin("super_admin") });
  expectProblem(answer, 404, "not_found");
  expect(answer.body["detail"]).toBe("The dead letter nope was not found.");
});

describe("a DELETE with a body", () => {
  test("H22: is refused and deletes nothing; an empty body is accepted", async () => {
    const token = api.admin("super_admin");
    for (const [raw, headers] of [["{}", { "content-type": "application/json" }], ["x", {}], [" ", {}]] as const) {
      const { id } = await api.tenant();
      const answer = await api.send("DELETE", `/v1/tenants/${id}`, { token, raw, headers });
      expectProblem(answer, 400, "bad_request");
      expect(answer.body.detail).toContain("DELETE takes no body");
      expect((await get(`/v1/tenants/${id}`)).status).toBe(200);
      expect((await api.send("DELETE", `/v1/tenants/${id}`, { token, raw: "" })).status).toBe(200);
    }
  });
});

describe("`.` and `..`", () => {
  test("H23: in a path are resolved as in any URL and never return a 5xx", async () => {
    for (const path of ["/v1/plans/..", "/v1/plans/%2e%2e", "/v1/plans/.", "/v1/plans/%2E", "/v1/tenants/../../..", "/v1/admins/.%2e"]) {
      const { status } = await get(path);
      expect(status === 200 || status === 404, `${path} → ${status}`).toBe(true);
    }
    for (const given of ["%252e%252e", "%2e%2e%2f", "..%5c"]) expectProblem(await get(`/v1/plans/${given}`), 404, "not_found");
  });
});

describe("a malformed full key", () => {
  test("H23: in the place of an id returns 404, and 401 without a credential", async () => {
    const routes = [["/v1/tenants", "tenant"], ["/v1/plans", "plan"], ["/v1/metrics", "metric"], ["/v1/admins", "admin"]] as const;
    for (const [path, family] of routes) {
      for (
        const id of [
          ":",
          "::",
          `${family}:`,
          `${family}::`,
          `${family}:..`,
          `${family}:%00`,
          `${family}:a%20b`,
          `${family}:${"x".repeat(600)}`,
        ]
      ) {
        expectProblem(await get(`${path}/${id}`), 404, "not_found");
        expectProblem(await api.send("GET", `${path}/${id}`), 401, "unauthenticated");
      }
    }
  });
});
