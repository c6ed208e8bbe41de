import { describe, expect, test } from "vitest";
import { expectProblem, useApi } from "./support/api.ts";

const api = useApi();
const good = { name: "Hotel", subdomain: "good-one", plan: "Pro", owner: "ada@hotel.example", ownerName: "Ada" };
const post = (json: unknown) => api.send("POST", "/v1/tenants", { token: api.admin("super_admin"), json });
const raw = (body: BodyInit, headers: Record<string, string> = { "content-type": "application/json" }) =>
  api.send("POST", "/v1/tenants", { token: api.admin("super_admin"), raw: body, headers });
const paths = (answer: { body: { errors: { path: string }[] } }) => answer.body.errors.map(({ path }) => path);

describe("a bad body", () => {
  test("H02: returns all errors at once, with JSON Pointers", async () => {
    const answer = await post({
      name: "",
      subdomain: "www",
      customDomain: "127.0.0.1",
      plan: 7,
      status: "on",
      owner: "nobody",
      mrr: 1.234,
      branding: { primaryColor: "red" },
      metadata: { "a/b~c": "\u0000" },
      "unknown/field": 1,
      id: "a:b",
      createdAt: "now",
    });
    expectProblem(answer, 422, "validation_failed");
    expect(new Set(paths(answer))).toEqual(
      new Set([
        "/name",
        "/subdomain",
        "/customDomain",
        "/plan",
        "/status",
        "/owner",
        "/ownerName",
        "/mrr",
        "/branding/primaryColor",
        "/metadata/a~1b~0c",
        "/unknown~1field",
        "/id",
        "/createdAt",
      ]),
    );
    expect(answer.body.errors.every((error: object) => Object.keys(error).join() === "path,message,code")).toBe(true);
  });

  test("H02: returns the errors of parameters and body together, with 400", async () => {
    const answer = await api.send("POST", "/v1/tenants?dry=1", { token: api.admin("super_admin"), json: { ...good, mrr: -1 } });
    expectProblem(answer, 400, "invalid_parameter");
    expect(paths(answer)).toEqual(["dry", "/mrr"]);
  });

  test("H01: with text that the store cannot hold is refused, at any depth", async () => {
    const cases: [unknown, string, string][] = [
      [{ ...good, name: "a\u0000b" }, "/name", "null_character"],
      [{ ...good, name: "\ud800" }, "/name", "lone_surrogate"],
      [{ ...good, metadata: { deep: [{ x: "\udfff!" }] } }, "/metadata/deep/0/x", "lone_surrogate"],
      [{ ...good, metadata: { "k\u0000": 1 } }, "/metadata/k\u0000", "null_character"],
      [{ ...good, metadata: { n: 9_007_199_254_740_993 } }, "/metadata/n", "unsafe_integer"],
    ];
    for (const [json, path, code] of cases) {
      const answer = await post(json);
      expectProblem(answer, 422, "validation_failed");
      expect(answer.body.errors).toContainEqual(expect.objectContaining({ path, code }));
    }
  });

  test("H01: with huge, infinite or exponent numbers is refused, never rounded", async () => {
    for (const number of ["1e400", "-1e400", "1e308", "99999999999999999999", "1e13", "0.001", "-0.01"]) {
      expectProblem(await raw(JSON.stringify({ ...good, mrr: "N" }).replace('"N"', number)), 422, "validation_failed");
    }
    const usage = (value: string) =>
      api.send("PUT", "/v1/tenants/tn_none/usage/rooms", {
        token: api.admin("super_admin"),
        raw: `{"value":${value}}`,
        headers: { "content-type": "application/json" },
      });
    for (const value of ["1e400", "1e16", "-1", '"7"', "null", "true"]) expectProblem(await usage(value), 422, "validation_failed");
  });

  test("H02: with an amount of too many decimals, or one that has no exact sum, is refused with a pointer to it", async () => {
    const token = api.admin("super_admin");
    const { id } = await api.tenant();
    const path = `/v1/tenants/${id}/usage/rooms`;
    const put = (json: unknown) => api.send("PUT", path, { token, json });
    const add = (json: unknown) => api.send("POST", `${path}/increment`, { token, json });
    for (const number of [5e-324, 0.0000001, 0.1234567, 1.0000000000000002]) {
      for (
        const [answer, place] of [
          [await put({ value: number }), "/value"],
          [await put({ value: 1, limit: number }), "/limit"],
          [await add({ amount: number }), "/amount"],
        ] as const
      ) {
        expectProblem(answer, 422, "validation_failed");
        expect(answer.body.errors).toEqual([{ path: place, message: "must have at most 6 decimals", code: "invalid" }]);
      }
    }
    for (const number of [0, 0.1, 2.5, 0.000001, 123_456_789.123456, 1e15]) {
      expect((await put({ value: number })).body.current).toBe(number);
    }
    await put({ value: 0.1 });
    expect((await add({ amount: 0.2 })).body.current).toBe(0.3);
    for (const value of [1e15, 123_456_789_012.1]) {
      await put({ value });
      for (const headers of [{}, { "if-match": "*" }]) {
        const answer = await api.send("POST", `${path}/increment`, { token, json: { amount: 0.000001 }, headers });
        expectProblem(answer, 422, "validation_failed");
        expect(paths(answer)).toEqual(["/amount"]);
      }
    }
  });

  test("H02: of a plan whose price exceeds the largest revenue of a tenant is refused with a pointer to the price", async () => {
    const token = api.admin("super_admin");
    const limits = { users: 1, properties: 1, rooms: 1, bookings: 1, api_calls: 1, storage: 1, customDomains: 1 };
    const plan = (interval: string, price: number) =>
      api.send("POST", "/v1/plans", { token, json: { name: `Dear-${interval}`, price, currency: "USD", interval, limits } });
    for (const price of [9_007_199_254_740_991, 100_000_000_000_001]) {
      const answer = await plan("monthly", price);
      expectProblem(answer, 422, "validation_failed");
      expect(paths(answer)).toEqual(["/price"]);
    }
    expect((await plan("monthly", 100_000_000_000_000)).status).toBe(201);
    const changed = await api.send("PATCH", "/v1/plans/Dear-monthly", { token, json: { price: 9_007_199_254_740_991 } });
    expect([changed.status, paths(changed)]).toEqual([422, ["/price"]]);
    const { id } = await api.tenant();
    const moved = await api.send("PUT", `/v1/tenants/${id}/subscription`, { token, json: { planId: "Dear-monthly" } });
    expect(moved.status, moved.text).toBe(200);
    expect((await api.send("GET", `/v1/tenants/${id}`, { token })).body.mrr).toBe(1e12);
  });

  test("H02: with . or .. as an id is refused at the id, in every body that has one", async () => {
    const token = api.admin("super_admin");
    const { id: tenantId } = await api.tenant();
    const plan = { name: "Dots", price: 100, currency: "USD", interval: "monthly", limits: {} };
    const metric = { name: "Dots", unit: "dots", kind: "gauge" };
    const admin = { email: "dots@innkeep.example", name: "Dots", role: "support" };
    for (const id of [".", ".."]) {
      const bodies: [method: string, path: string, json: object, place: string][] = [
        ["POST", "/v1/tenants", { ...good, id }, "/id"],
        ["POST", "/v1/tenants", { ...good, plan: id }, "/plan"],
        ["POST", "/v1/tenants", { ...good, plan: `plan:${id}` }, "/plan"],
        ["POST", "/v1/plans", { ...plan, id }, "/id"],
        ["POST", "/v1/plans", { ...plan, limits: { [id]: 1 } }, `/limits/${id}`],
        ["POST", "/v1/metrics", { ...metric, id }, "/id"],
        ["POST", "/v1/admins", { ...admin, userId: id }, "/userId"],
        ["PATCH", `/v1/tenants/${tenantId}`, { plan: id }, "/plan"],
        ["PUT", `/v1/tenants/${tenantId}/subscription`, { planId: id }, "/planId"],
      ];
      for (const [method, path, json, place] of bodies) {
        const answer = await api.send(method, path, { token, json });
        expectProblem(answer, 422, "validation_failed");
        expect(paths(answer), `${method} ${path} ${JSON.stringify(json)}`).toEqual([place]);
      }
    }
  });

  test("H02: of a plan whose name cannot be its id requires an id", async () => {
    const token = api.admin("super_admin");
    const plan = { price: 100, currency: "USD", interval: "monthly", limits: {} };
    for (const name of ["Two Words", "Café", "..", "a:b"]) {
      const answer = await api.send("POST", "/v1/plans", { token, json: { ...plan, name } });
      expectProblem(answer, 422, "validation_failed");
      expect(answer.body.errors).toMatchObject([{
        path: "/id",
        message: expect.stringContaining("is required, because this name is not a valid id"),
      }]);
    }
    const made = await api.send("POST", "/v1/plans", { token, json: { ...plan, id: "two-words", name: "Two Words" } });
    expect(made.body, made.text).toMatchObject({ id: "two-words", name: "Two Words", displayName: "Two Words" });
  });

  test("H01: with names of Object.prototype is refused, without prototype pollution", async () => {
    for (
      const body of [
        '{"__proto__":{"isAdmin":true}}',
        `{"metadata":{"__proto__":{"isAdmin":true}}}`,
        '{"metadata":{"a":[{"__proto__":1}]}}',
      ]
    ) {
      const answer = await raw(JSON.stringify(good).replace(/}$/, `,${body.slice(1)}`));
      expectProblem(answer, 422, "validation_failed");
      expect(answer.text).toContain("__proto__");
    }
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
    const odd = await post({ ...good, subdomain: "odd-names", metadata: { constructor: 1, toString: 2, hasOwnProperty: 3 } });
    expect(odd.status, odd.text).toBe(201);
    expect(odd.body.metadata).toEqual({ constructor: 1, toString: 2, hasOwnProperty: 3 });
  });

  test("H22: of 1 MiB is accepted and one byte more is refused, whatever Content-Length says", async () => {
    const limit = 1024 * 1024;
    const body = (bytes: number) => `{"name":"${"x".repeat(bytes - 11)}"}`;
    expectProblem(await raw(body(limit)), 422, "validation_failed");
    expectProblem(await raw(body(limit + 1)), 413, "payload_too_large");
    expectProblem(await raw("é".repeat(limit / 2 + 1)), 413, "payload_too_large");
    expectProblem(await raw("{}", { "content-type": "application/json", "content-length": String(limit + 1) }), 413, "payload_too_large");
  });

  test("H22: with deep nesting is refused without a stack overflow", async () => {
    const deep = (levels: number) => `{"metadata":{"a":${"[".repeat(levels)}${"]".repeat(levels)}}}`;
    for (const levels of [70, 5_000, 200_000]) {
      const answer = await raw(deep(levels));
      expect([400, 422]).toContain(answer.status);
    }
  });

  test("H23: with many errors gets a short response", async () => {
    const token = api.admin("super_admin");
    const strangers = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`stranger${i}`, i]));
    const admin = { userId: "u", email: "u@innkeep.example", name: "U", role: "support", permissions: Array(100_000).fill(1) };
    for (
      const [path, json] of [["/v1/tenants", { ...good, ...strangers }], ["/v1/tenants", { ...good, ["k".repeat(500_000)]: "\u0000" }], [
        "/v1/admins",
        admin,
      ]] as const
    ) {
      const answer = await api.send("POST", path, { token, json });
      expectProblem(answer, 422, "validation_failed");
      expect(answer.body.errors.length).toBeLessThanOrEqual(100);
      expect(answer.text.length).toBeLessThan(50_000);
    }
  });

  test("H22: that is not UTF-8, has no content type, or is missing is refused", async () => {
    expectProblem(await raw(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), 400, "invalid_json");
    for (
      const type of [
        "text/json",
        "application/jsonp",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "application/problem+json",
        "",
      ]
    ) {
      expectProblem(await raw("{}", { "content-type": type }), 415, "unsupported_media_type");
    }
    for (const coding of ["gzip", "br, gzip"]) {
      const answer = await raw(JSON.stringify(good), { "content-type": "application/json", "content-encoding": coding });
      expectProblem(answer, 415, "unsupported_media_type");
      expect(answer.body.detail).toContain("Content-Encoding");
    }
    expectProblem(await raw("", { "content-type": "application/json", "content-encoding": "identity" }), 400, "invalid_json");
    expectProblem(
      await raw(JSON.stringify(good), { "content-type": "APPLICATION/JSON; charset=utf-8", "x-tenant-id": "tn_none" }),
      404,
      "not_found",
    );
  });

  test("H01: that exceeds the size of a value is refused with 413", async () => {
    const answer = await post({ ...good, subdomain: "too-big", settings: { blob: "x".repeat(300_000) } });
    expectProblem(answer, 413, "payload_too_large");
  });
});

describe("a conflict", () => {
  test("T07: of statuses returns 409 with the allowed ones; a change to the current status returns 200", async () => {
    const { id } = await api.tenant({ status: "pending" });
    const token = api.admin("super_admin");
    const answer = await api.send("POST", `/v1/tenants/${id}/cancel`, { token });
    expectProblem(answer, 409, "invalid_transition");
    expect(answer.body).toMatchObject({ allowed: ["trial", "active"], from: "pending", to: "cancelled" });
    expectProblem(
      await api.send("PATCH", `/v1/tenants/${id}`, { token, json: { status: "suspended", suspensionReason: "x" } }),
      409,
      "invalid_transition",
    );
    expect((await api.send("PATCH", `/v1/tenants/${id}`, { token, json: { status: "pending" } })).status).toBe(200);
  });

  test("T08: suspending, cancelling and reactivating take effect with the tenant's next request", async () => {
    const { id } = await api.tenant();
    const token = api.admin("super_admin");
    const user = await api.user(id, "owner");
    const see = async () => (await api.send("GET", `/v1/tenants/${id}`, { token: user })).status;
    const step = async (name: string, json?: unknown) =>
      expect((await api.send("POST", `/v1/tenants/${id}/${name}`, { token, ...(json ? { json } : {}) })).status).toBe(200);
    expect(await see()).toBe(200);
    await step("suspend", { reason: "unpaid" });
    expect(await see()).toBe(403);
    await step("unsuspend");
    expect(await see()).toBe(200);
    await step("cancel");
    expect(await see()).toBe(403);
    await step("reactivate");
    expect(await see()).toBe(200);
  });

  test("H01: of names, plans or ids has its own error code", async () => {
    const token = api.admin("super_admin");
    const { subdomain } = await api.tenant({ customDomain: "taken.example" });
    expectProblem(await post({ ...good, subdomain }), 409, "subdomain_taken");
    expectProblem(await post({ ...good, subdomain: "free-one", customDomain: "taken.example" }), 409, "domain_taken");
    expectProblem(await api.send("DELETE", "/v1/plans/Pro", { token }), 409, "plan_in_use");
    expectProblem(await post({ ...good, subdomain: "no-plan", plan: "NoSuchPlan" }), 422, "validation_failed");
    const admin = { userId: "user-admin", email: "x@innkeep.example", name: "X", role: "support" };
    const second = await api.send("POST", "/v1/admins", { token, json: admin });
    expectProblem(second, 409, "already_exists");
    expect(second.body.detail).toBe("The admin user-admin already exists. Choose another id.");
    const held = await api.tenant({ metadata: { legalHold: true } });
    expectProblem(await api.send("DELETE", `/v1/tenants/${held.id}`, { token }), 409, "legal_hold");
  });

  test("T10: a deletion reports what it removes, also as a dry run, and leaves no records", async () => {
    const { id } = await api.tenant();
    const token = api.admin("super_admin");
    const path = `/v1/tenants/${id}`;
    const dry = await api.send("DELETE", `${path}?dryRun=true`, { token });
    expect(dry.body).toMatchObject({ tenantId: id, dryRun: true, removed: { tenant: 1, subscription: 1, "usage-record": 6 } });
    expect((await api.send("GET", path, { token })).status).toBe(200);
    expect((await api.send("DELETE", path, { token })).body).toEqual({ ...dry.body, dryRun: false });
    for (const gone of [path, `${path}/subscription`, `${path}/usage`, `${path}/usage/rooms`]) {
      expectProblem(await api.send("GET", gone, { token }), 404, "not_found");
    }
    expectProblem(await api.send("DELETE", path, { token }), 404, "not_found");
    const again = await post({ ...good, id, subdomain: "again" });
    expectProblem(again, 409, "tenant_deleted");
    expect(again.body.detail).toBe(`The tenant ${id} was deleted. Its id is never used again; choose another.`);
    expect((await api.send("GET", `/v1/audit?tenantId=${id}`, { token })).body.data[0].action).toBe("tenant.deleted");
  });
});
