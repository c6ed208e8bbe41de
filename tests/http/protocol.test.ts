import { describe, expect, test } from "vitest";
import { expectProblem, useApi } from "./support/api.ts";

const api = useApi({ corsOrigins: ["https://admin.example", "http://localhost:5173"] });
const preflight = (origin: string, path = "/v1/tenants") =>
  api.send("OPTIONS", path, {
    headers: { origin, "access-control-request-method": "PATCH", "access-control-request-headers": "authorization,if-match" },
  });

describe("CORS", () => {
  test("H21: the preflight of a listed origin needs no credential and can be cached", async () => {
    const { status, headers } = await preflight("https://admin.example");
    expect(status).toBe(204);
    expect(headers.get("access-control-allow-origin")).toBe("https://admin.example");
    expect(headers.get("access-control-allow-credentials")).toBe("true");
    expect(headers.get("access-control-allow-methods")).toContain("PATCH");
    expect(headers.get("access-control-allow-headers")).toContain("if-match");
    expect(Number(headers.get("access-control-max-age"))).toBeGreaterThan(0);
    expect(headers.get("vary")).toContain("Origin");
  });

  test("H21: an unlisted origin gets no CORS headers, on preflights, responses and errors", async () => {
    for (const origin of ["https://evil.example", "https://admin.example.evil.example", "null", "http://admin.example"]) {
      expect((await preflight(origin)).headers.has("access-control-allow-origin")).toBe(false);
      expect((await api.send("GET", "/health", { headers: { origin } })).headers.has("access-control-allow-origin")).toBe(false);
    }
  });

  test("H21: a listed origin can read responses and errors with the headers a frontend needs", async () => {
    const headers = { origin: "http://localhost:5173" };
    for (
      const answer of [
        await api.send("GET", "/v1/plans", { token: api.admin("admin"), headers }),
        await api.send("GET", "/v1/plans", { headers }),
        await api.send("GET", "/nowhere", { headers }),
      ]
    ) {
      expect(answer.headers.get("access-control-allow-origin")).toBe("http://localhost:5173");
      for (const name of ["ETag", "Link", "Location", "Retry-After", "X-Request-Id"]) {
        expect(answer.headers.get("access-control-expose-headers")).toContain(name);
      }
    }
  });
});

describe("with `*` as the allow-list", () => {
  const open = useApi({ corsOrigins: ["*"] });
  test("H21: any origin may read, without credentials", async () => {
    const { headers } = await open.send("GET", "/health", { headers: { origin: "https://any.example" } });
    expect(headers.get("access-control-allow-origin")).toBe("*");
    expect(headers.has("access-control-allow-credentials")).toBe(false);
  });
});

describe("methods", () => {
  test("H22: HEAD is GET without a body, on every GET route", async () => {
    const { id } = await api.tenant();
    for (const path of ["/health", "/ready", "/v1/me", "/v1/tenants", `/v1/tenants/${id}`, "/v1/plans/Pro"]) {
      const token = api.admin("admin");
      const [get, head] = [await api.send("GET", path, { token }), await api.send("HEAD", path, { token })];
      expect([head.status, head.text, head.headers.get("etag")]).toEqual([get.status, "", get.headers.get("etag")]);
      // RFC 9110 §8.6: the length of the body that GET would send.
      expect(head.headers.get("content-length"), path).toBe(String(Buffer.byteLength(get.text)));
    }
    expect((await api.send("HEAD", "/v1/tenants")).status).toBe(401);
  });

  test("H22: an unsupported method returns 405 with Allow; OPTIONS needs no credential", async () => {
    const allow = {
      "/health": "GET, HEAD",
      "/v1/tenants": "GET, HEAD, POST",
      "/v1/plans/Pro": "DELETE, GET, HEAD, PATCH",
      "/v1/tenants/tn_1/suspend": "POST",
    };
    for (const [path, methods] of Object.entries(allow)) {
      const options = await api.send("OPTIONS", path);
      expect(options.status).toBe(204);
      const refused = await api.send("PUT", path, { json: {} });
      expectProblem(refused, 405, "method_not_allowed");
      expect(refused.headers.get("allow")?.split(", ").sort().join(", ")).toBe(methods);
    }
    for (const method of ["GET", "DELETE"]) expectProblem(await api.send(method, "/v1/nothing"), 404, "not_found");
    expectProblem(await api.send("GET", "/v1/tenants/"), 404, "not_found");
  });
});

describe("the function's own name", () => {
  test("H22: is removed from the path and added to Location and Link", async () => {
    const token = api.admin("super_admin");
    for (const [i, prefix] of ["/functions/v1/api", "/api"].entries()) {
      expect((await api.send("GET", `${prefix}/health`)).body).toEqual({ status: "ok" });
      const json = { name: "Hotel", subdomain: `prefixed-${i}`, plan: "Pro", owner: "a@b.example", ownerName: "A" };
      const made = await api.send("POST", `${prefix}/v1/tenants`, { token, json });
      expect(made.headers.get("location")).toBe(`/functions/v1/api/v1/tenants/${made.body.id}`);
      expect((await api.send("GET", made.headers.get("location") ?? "", { token })).body.id).toBe(made.body.id);
      const list = await api.send("GET", `${prefix}/v1/plans?limit=1`, { token });
      expect(list.headers.get("link")).toMatch(/^<\/functions\/v1\/api\/v1\/plans\?limit=1&cursor=[^>]+>; rel="next"$/);
      const problem = await api.send("GET", `${prefix}/v1/tenants/tn_none`, { token });
      expect(problem.body.instance).toBe(`${prefix}/v1/tenants/tn_none`);
    }
    expectProblem(await api.send("GET", "/apiary/health"), 404, "not_found");
  });
});

describe("request ids and logs", () => {
  test("H09: a valid X-Request-Id is kept and an invalid one replaced; the id is in response, error, log and audit entry", async () => {
    const token = api.admin("super_admin");
    const { id } = await api.tenant();
    const answer = await api.send("PATCH", `/v1/tenants/${id}`, {
      token,
      json: { name: "Traced" },
      headers: { "x-request-id": "trace-1.A_b~c" },
    });
    expect(answer.headers.get("x-request-id")).toBe("trace-1.A_b~c");
    expect(api.logs.at(-1)).toMatchObject({ event: "request", requestId: "trace-1.A_b~c" });
    const audit = await api.send("GET", `/v1/audit?tenantId=${id}&limit=1`, { token });
    expect(audit.body.data[0].requestId).toBe("trace-1.A_b~c");
    for (const bad of ["a b", "x".repeat(129), "<script>", "a;b", "ü"]) {
      const refused = await api.send("GET", "/v1/tenants/tn_none", { token, headers: { "x-request-id": bad } });
      expect(refused.headers.get("x-request-id")).toMatch(/^req_[0-9a-f]{32}$/);
      expectProblem(refused, 404, "not_found");
    }
  });

  test("O03: a health check has the headers of other responses, and refuses parameters as they do", async () => {
    const [plain, asked] = [await api.send("GET", "/health"), await api.send("GET", "/health?")];
    expect([asked.status, asked.text]).toEqual([plain.status, plain.text]);
    const names = (headers: Headers) => [...headers.keys()].sort();
    expect(names(plain.headers)).toEqual(names(asked.headers));
    expect(plain.headers.get("content-type")).toBe(asked.headers.get("content-type"));
    expect(plain.headers.get("cache-control")).toBe("no-store");
    expectProblem(await api.send("GET", "/health?deep=true"), 400, "invalid_parameter");
  });

  test("O11: every request leaves one line with caller, tenant, route, path, status, code and time, without query, body or credential", async () => {
    const { id } = await api.tenant();
    const token = await api.user(id, "owner", "u-logged");
    const before = api.logs.length;
    await api.send("PATCH", `/v1/tenants/${id}?x=query-secret`, {
      token,
      json: { name: "body-secret" },
      headers: { "x-other-key": "header-secret" },
    });
    await api.send("PATCH", `/v1/tenants/${id}`, { token, json: { name: "body-secret" } });
    await api.send("GET", "/nowhere/deep?x=query-secret");
    await api.send("GET", "/health");
    const lines = api.logs.slice(before);
    expect(lines.map(({ event, route, path, status, method, code }) => [event, method, route, path, status, code])).toEqual([
      ["request", "PATCH", "/v1/tenants/:tenantId", `/v1/tenants/${id}`, 400, "invalid_parameter"],
      ["request", "PATCH", "/v1/tenants/:tenantId", `/v1/tenants/${id}`, 200, undefined],
      ["request", "GET", "unmatched", "/nowhere/deep", 404, "not_found"],
      ["request", "GET", "/health", "/health", 200, undefined],
    ]);
    expect(lines.slice(2).map(({ caller }) => caller)).toEqual(["anonymous", "anonymous"]);
    expect(lines[1]).toMatchObject({ caller: "user:u-logged", tenantId: id, level: "info" });
    expect(lines[1]?.["durationMs"]).toBeTypeOf("number");
    expect(JSON.stringify(lines)).not.toMatch(/secret|eyJ/);
    for (const line of lines) expect(JSON.stringify(line).length).toBeLessThan(10_000);
  });

  test("H24: times are RFC 3339 in UTC with milliseconds, and ids have a prefix", async () => {
    const { id } = await api.tenant();
    const token = api.admin("admin");
    const bodies = await Promise.all(
      ["", "/subscription", "/usage/bookings"].map(async (rest) => (await api.send("GET", `/v1/tenants/${id}${rest}`, { token })).body),
    );
    const times = bodies.flatMap((body) => Object.entries(body)).filter(([name]) => /At$|^currentPeriod/.test(name));
    expect(times.length).toBeGreaterThan(5);
    for (const [name, value] of times) expect(value, name).toMatch(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/);
    expect(bodies.map((body) => String(body.id).split(/[_:]/)[0])).toEqual(["tn", "sub", "usage"]);
  });
});

test("H23: every response has the security headers, and no-store unless it has an ETag", async () => {
  const { headers } = await api.send("GET", "/v1/tenants", { token: api.admin("admin") });
  expect(
    Object.fromEntries(
      ["x-content-type-options", "x-frame-options", "referrer-policy", "cache-control"].map((name) => [name, headers.get(name)]),
    ),
  ).toEqual({
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
  });
  expect(headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(headers.get("server-timing")).toMatch(/^auth;dur=[\d.]+, store;dur=[\d.]+, total;dur=[\d.]+$/);
});
