import { expect, test } from "vitest";
import { expectProblem, useApi } from "../../http/support/api.ts";

const api = useApi();

test("U05: a platform admin adds a metric over HTTP, plans limit it, and in use it stays; a tenant's owner reads it", async () => {
  const token = api.admin("admin");
  const { id } = await api.tenant();
  const json = { id: "covers", name: "Covers", unit: "covers", kind: "counter" };
  const made = await api.send("POST", "/v1/metrics", { token, json });
  expect(made.status, made.text).toBe(201);
  expect(made.headers.get("location")).toBe("/v1/metrics/covers");
  const owner = await api.user(id, "owner");
  expect((await api.send("GET", "/v1/metrics/covers", { token: owner })).body).toMatchObject({ ...json, description: "" });
  expectProblem(await api.send("POST", "/v1/metrics", { token: owner, json: { ...json, id: "mine" } }), 403, "insufficient_scope");

  const plan = { name: "Dining", price: 100, currency: "USD", interval: "monthly", limits: { covers: 50 } };
  const odd = await api.send("POST", "/v1/plans", { token, json: { ...plan, limits: { forks: 1 } } });
  expectProblem(odd, 422, "validation_failed");
  expect(odd.body.errors).toMatchObject([{ path: "/limits/forks", code: "unknown_metric" }]);
  expect((await api.send("POST", "/v1/plans", { token, json: plan })).status).toBe(201);
  expectProblem(await api.send("DELETE", "/v1/metrics/covers", { token }), 409, "metric_in_use");
  expect((await api.send("DELETE", "/v1/plans/Dining", { token })).status).toBe(204);
  expect((await api.send("DELETE", "/v1/metrics/covers", { token })).status).toBe(204);
  expectProblem(await api.send("POST", `/v1/tenants/${id}/usage/covers/increment`, { token }), 404, "not_found");
});
