import { expect, test } from "vitest";
import { expectProblem, useApi } from "./support/api.ts";

const api = useApi();

test("T01: a tenant is created with its id, location, times and ETag", async () => {
  const answer = await api.send("POST", "/v1/tenants", {
    token: api.admin("super_admin"),
    json: { name: "Hotel Aurora", subdomain: "aurora", plan: "plan:Pro", owner: "ada@aurora.example", ownerName: "Ada Auer" },
  });
  expect(answer.status, answer.text).toBe(201);
  expect(answer.body.id).toMatch(/^tn_\d{13}_[0-9a-z]{12}$/);
  expect(answer.headers.get("location")).toBe(`/v1/tenants/${answer.body.id}`);
  expect(answer.headers.get("etag")).toBe(`"${answer.body.version}"`);
});

/** Below the limit of a metric that refuses what exceeds it. */
const WITHIN = { policy: "hard", overLimit: false, overage: 0 };

test("T07: reactivating a suspended tenant is refused with what to do instead", async () => {
  const { id } = await api.tenant({ status: "suspended", suspensionReason: "unpaid" });
  const answer = await api.send("POST", `/v1/tenants/${id}/reactivate`, { token: api.admin("admin") });
  expectProblem(answer, 409, "invalid_transition");
  expect(answer.body).toMatchObject({ detail: expect.stringContaining("Unsuspend it instead."), allowed: ["active", "cancelled"] });
});

test("U04: usage cannot fall below zero, and one call cannot subtract more than the schema allows", async () => {
  const { id } = await api.tenant();
  const path = `/v1/tenants/${id}/usage/bookings/increment`;
  const token = api.admin("admin");
  for (const amount of [-1e12 - 1, -0.0000001]) {
    const answer = await api.send("POST", path, { token, json: { amount } });
    expectProblem(answer, 422, "validation_failed");
    expect(answer.body.errors).toMatchObject([{ path: "/amount" }]);
  }
  expectProblem(await api.send("POST", path, { token, json: { amount: -1 } }), 409, "usage_below_zero");
  await api.send("POST", path, { token, json: { amount: 5 } });
  expect((await api.send("POST", path, { token, json: { amount: -2 } })).body).toMatchObject({ current: 3 });
  const { schemas } = (await api.send("GET", "/openapi.json")).body.components;
  expect(schemas.IncrementUsageBody.properties.amount).toEqual({
    description: expect.stringMatching(/bytes.*at most 6 decimals/),
    type: "number",
    default: 1,
    minimum: -1e12,
    maximum: 1e12,
  });
});

test("A01: the address in the audit log is the one the nearest proxy added, whatever the caller sent", async () => {
  const { id } = await api.tenant();
  const token = api.admin("admin");
  const addressAfter = async (forwarded: string, name: string) => {
    await api.send("PATCH", `/v1/tenants/${id}`, { token, json: { name }, headers: { "x-forwarded-for": forwarded } });
    const { data } = (await api.send("GET", `/v1/audit?tenantId=${id}&limit=100`, { token })).body;
    return data.find((entry: { changes?: { after?: { name?: string } } }) => entry.changes?.after?.name === name).ipAddress;
  };
  const written = ["203.0.113.7", "10.0.0.1, 203.0.113.7", "<script>,10.0.0.1,203.0.113.7 "];
  for (const [i, forwarded] of written.entries()) expect(await addressAfter(forwarded, `Renamed ${i}`)).toBe("203.0.113.7");
  expect(await addressAfter("203.0.113.7, not an address", "Renamed at last")).toBeUndefined();
});

test("T07: a tenant is created, moved to another plan, metered, cancelled and reactivated over HTTP", async () => {
  const token = api.admin("admin");
  const created = await api.send("POST", "/v1/tenants", {
    token,
    json: { name: "Hotel Borealis", subdomain: "borealis", plan: "Basic", owner: "bo@borealis.example", ownerName: "Bo", status: "active" },
  });
  const path = `/v1/tenants/${created.body.id}`;
  const get = async (rest = "") => (await api.send("GET", path + rest, { token })).body;
  const moved = await api.send("PUT", `${path}/subscription`, { token, json: { planId: "plan:Enterprise", paymentMethod: "card" } });
  expect(moved.body, moved.text).toMatchObject({ planId: "Enterprise", paymentMethod: "card", tenantId: created.body.id });
  expect(await get()).toMatchObject({ plan: "Enterprise", mrrSource: "plan" });
  const counted = await api.send("POST", `${path}/usage/bookings/increment`, { token, json: { amount: 40, limit: 100 } });
  expect(counted.body).toMatchObject({ metric: "bookings", current: 40, limit: 100, percentage: 40, resetsAt: "2026-04-01T00:00:00.000Z" });
  expect(await get("/usage/bookings/check?amount=61")).toEqual({
    allowed: false,
    current: 40,
    limit: 100,
    remaining: 60,
    percentage: 40,
    ...WITHIN,
  });
  expect((await get("/usage?period=2026-03")).data).toHaveLength(6);
  expect((await get("/usage/bookings?period=2025-01")).current).toBe(0);
  const atEnd = await api.send("POST", `${path}/subscription/cancel`, { token });
  expect(atEnd.body).toMatchObject({ cancelAtPeriodEnd: true, status: "active" });
  const atOnce = await api.send("POST", `${path}/subscription/cancel`, { token, json: { cancelAtPeriodEnd: false } });
  expect(atOnce.body).toMatchObject({ status: "cancelled", cancelledAt: "2026-03-01T12:00:00.000Z" });
  expect((await api.send("POST", `${path}/subscription/reactivate`, { token })).body).toMatchObject({
    status: "active",
    cancelAtPeriodEnd: false,
  });
  expect((await api.send("POST", `${path}/cancel`, { token })).body.status).toBe("cancelled");
  expect((await api.send("POST", `${path}/reactivate`, { token })).body.status).toBe("active");
});

test("N01: a notification is found by its full key, in a tenant's own path and in the platform's, and by no other tenant", async () => {
  const [{ id }, { id: other }] = [await api.tenant(), await api.tenant()];
  const [own, foreign] = [await api.user(id, "owner"), await api.user(other, "owner")];
  const tell = async (tenantId?: string) =>
    (await api.services.NotificationService.create({ title: "News", message: "Read." }, tenantId)).id;
  const keys = [`notification:${id}:${await tell(id)}`, `notification:global:${await tell()}`];
  for (const key of keys) {
    const path = `/v1/notifications/${key}`;
    expect((await api.send("GET", path, { token: own })).status, key).toBe(200);
    expect((await api.send("POST", `${path}/read`, { token: own })).body).toMatchObject({ read: true });
    expect((await api.send("GET", path, { token: foreign })).status).toBe(key === keys[0] ? 404 : 200);
    expect((await api.send("DELETE", path, { token: foreign })).status).toBe(key === keys[0] ? 404 : 403);
  }
  for (const wrong of ["notification:global", "notification:global:", "plan:Basic", `${keys[0]}:more`]) {
    expect((await api.send("GET", `/v1/notifications/${wrong}`, { token: own })).status, wrong).toBe(404);
  }
  for (const key of keys) expect((await api.send("DELETE", `/v1/notifications/${key}`, { token: api.admin("admin") })).status).toBe(204);
});

test("T01: a full key is accepted wherever an id is", async () => {
  const { id } = await api.tenant();
  const token = api.admin("admin");
  for (
    const path of [
      `/v1/tenants/tenant:${id}`,
      `/v1/tenants/tenant%3A${id}`,
      `/v1/tenants/tenant:${id}/usage/rooms`,
      "/v1/plans/plan:Pro",
      "/v1/admins/admin:user-admin",
    ]
  ) {
    expect((await api.send("GET", path, { token })).status, path).toBe(200);
  }
});

test("K23: no tenant can have an id that is also a path of the API", async () => {
  const shadowing = api.routes.map(({ path }) => /^\/v1\/tenants\/([^:/]+)/.exec(path)?.[1]).filter((word) => word !== undefined);
  expect(shadowing).toContain("stats");
  for (const id of shadowing) {
    const answer = await api.send("POST", "/v1/tenants", {
      token: api.admin("admin"),
      json: { id, name: "Hotel Shadow", subdomain: "shadow", plan: "Pro", owner: "s@shadow.example", ownerName: "S" },
    });
    expectProblem(answer, 422, "validation_failed");
    expect(answer.body.errors).toMatchObject([{ path: "/id" }]);
  }
});

test("U12: consume returns whether the amount was allowed, and only platform callers may use it", async () => {
  const { id } = await api.tenant({ plan: "Trial" });
  const path = `/v1/tenants/${id}/usage/rooms/consume`;
  const token = api.admin("admin");
  const answer = async (amount: number) => (await api.send("POST", path, { token, json: { amount } })).body;
  expect(await answer(19)).toEqual({ allowed: true, current: 19, limit: 20, remaining: 1, ...WITHIN });
  expect(await answer(2)).toEqual({ allowed: false, current: 19, limit: 20, remaining: 1, ...WITHIN });
  expectProblem(await api.send("POST", path, { token, json: {} }), 422, "validation_failed");
  expectProblem(await api.send("POST", path, { token: await api.user(id, "owner"), json: { amount: 1 } }), 403, "insufficient_scope");
  expectProblem(await api.send("POST", path, { token, json: { amount: 1, period: "2031-01" } }), 422, "validation_failed");
});

test("U01: an unknown metric returns 404, an invalid period 400 or 422", async () => {
  const { id } = await api.tenant();
  const token = api.admin("admin");
  const path = `/v1/tenants/${id}/usage`;
  expectProblem(await api.send("GET", `${path}/guests`, { token }), 404, "not_found");
  expectProblem(await api.send("PUT", `${path}/guests`, { token, json: { value: 1 } }), 404, "not_found");
  for (const period of ["2026", "2026-13", "2026-3", "now"]) {
    expectProblem(await api.send("GET", `${path}?period=${period}`, { token }), 400, "invalid_parameter");
    expectProblem(await api.send("PUT", `${path}/rooms`, { token, json: { value: 1, period } }), 422, "validation_failed");
  }
});
