import { expect, test } from "vitest";
import { expectProblem, useApi } from "./support/api.ts";

const api = useApi();
const get = (path: string, token: string) => api.send("GET", path, { token });

test("T02: one call returns a tenant with its plan, subscription, entitlements, usage and open alerts, each as on its own route", async () => {
  const { id } = await api.tenant({ plan: "Basic" });
  const admin = api.admin("admin");
  await api.send("POST", `/v1/tenants/${id}/usage/bookings/increment`, { token: admin, json: { amount: 850 } });
  await api.send("PUT", `/v1/tenants/${id}/usage/rooms`, { token: admin, json: { value: 30 } });
  for (const token of [api.admin("read_only"), await api.user(id, "viewer"), await api.user(id, "owner")]) {
    const answer = await get(`/v1/tenants/tenant:${id}/overview`, token);
    expect(answer.status, answer.text).toBe(200);
    const path = `/v1/tenants/${id}`;
    expect(answer.body).toEqual({
      tenant: (await get(path, token)).body,
      plan: (await get("/v1/plans/Basic", token)).body,
      subscription: (await get(`${path}/subscription`, token)).body,
      entitlements: (await get(`${path}/entitlements`, token)).body,
      usage: (await get(`${path}/usage`, token)).body.data,
      alerts: (await get(`${path}/alerts?triggered=true`, token)).body.data,
    });
    expect(answer.body.alerts).toMatchObject([{ metric: "bookings", threshold: 80, triggered: true }]);
    expect(answer.body.usage).toContainEqual(expect.objectContaining({ metric: "bookings", current: 850, limit: 1_000, percentage: 85 }));
    expect(answer.body.usage).toContainEqual(expect.objectContaining({ metric: "rooms", current: 30, limit: 60, percentage: 50 }));
  }
});

test("T02: the overview is of the current month, also without usage, and has null for what the tenant lacks", async () => {
  const { id } = await api.tenant();
  api.clock.set("2026-05-01T00:00:00.000Z");
  const token = await api.signer.sign("user-support");
  const usage = (await get(`/v1/tenants/${id}/usage`, token)).body.data;
  const { body } = await get(`/v1/tenants/${id}/overview`, token);
  expect(body.usage).toEqual(usage);
  expect(new Set(body.usage.map(({ period }: { period: string }) => period))).toEqual(new Set(["2026-05"]));
  await api.open.store.del(`subscription:${id}`);
  const entry = await api.open.store.get(`tenant:${id}`);
  await api.open.store.set(`tenant:${id}`, { ...entry?.value as object, plan: "Imported" });
  expect((await get(`/v1/tenants/${id}/overview`, token)).body).toMatchObject({
    plan: null,
    subscription: null,
    tenant: { plan: "Imported" },
  });
});

test("R03: the overview of another tenant, or of one that does not exist, returns 404", async () => {
  const [own, other] = [await api.tenant(), await api.tenant()];
  const token = await api.user(own.id, "owner");
  const foreign = await get(`/v1/tenants/${other.id}/overview`, token);
  expectProblem(foreign, 404, "not_found");
  expect((await get(`/v1/tenants/${other.id}x/overview`, token)).body.detail).toBe(foreign.body.detail.replace(other.id, `${other.id}x`));
  expectProblem(await get("/v1/tenants/tn_none/overview", await api.signer.sign("user-admin")), 404, "not_found");
});
