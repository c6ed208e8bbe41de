import { expect, test } from "vitest";
import { expectProblem, useApi } from "../../http/support/api.ts";

const api = useApi();
const PLANTED = "planted-c2VjcmV0-0042";

test("I01, I04: a tenant's admin connects, tests and disconnects a provider over HTTP; no response or log line has the credentials", async () => {
  const { id } = await api.tenant();
  const path = `/v1/tenants/${id}/integrations/hubspot`;
  const token = await api.user(id, "admin");
  const viewer = await api.user(id, "viewer");
  const json = { credentials: { accessToken: PLANTED } };
  const headers = { "idempotency-key": "connect-hubspot" };
  const made = await api.send("PUT", path, { token, json, headers });
  expect([made.status, made.headers.get("location")], made.text).toEqual([201, path]);
  expect(made.body).toMatchObject({ status: "connected", credentialFields: [{ name: "accessToken", last4: "0042" }] });
  const answers = [
    made,
    await api.send("PUT", path, { token, json, headers }),
    await api.send("PUT", path, { token, json }),
    await api.send("GET", path, { token: viewer }),
    await api.send("GET", `/v1/tenants/${id}/integrations`, { token: viewer }),
    await api.send("POST", `${path}/sync`, { token, json: { status: "failed", error: `refused ${PLANTED}` } }),
    await api.send("POST", `${path}/test`, { token }),
    await api.send("GET", `/v1/tenants/${id}/connector-events`, { token: viewer }),
    await api.send("GET", `/v1/audit?tenantId=${id}`, { token }),
    await api.send("DELETE", path, { token }),
  ];
  expect(answers.map(({ status }) => status)).toEqual([201, 201, 200, 200, 200, 200, 200, 200, 200, 204]);
  // The program of this test makes no calls to other systems.
  expect(answers[6]?.body).toMatchObject({ outcome: "unreachable" });
  expect(answers[7]?.body.data).toMatchObject([{ action: "test", outcome: "unreachable" }]);
  expectProblem(await api.send("PUT", path, { token: viewer, json }), 403, "insufficient_scope");
  for (const { text, headers: sent } of answers) expect(text + JSON.stringify([...sent])).not.toContain(PLANTED);
  expect(JSON.stringify(api.logs)).not.toContain(PLANTED);
});

test("I02, I04: an unknown provider and wrong credentials are 422, with a pointer to each field and without its value", async () => {
  const { id } = await api.tenant();
  const token = api.admin("admin");
  const at = (provider: string) => `/v1/tenants/${id}/integrations/${provider}`;
  const credentials = { accessToken: `${PLANTED} `, extra: PLANTED };
  expectProblem(await api.send("PUT", at("fax"), { token, json: { credentials } }), 422, "unknown_provider");
  const refused = await api.send("PUT", at("hubspot"), { token, json: { config: { region: PLANTED }, credentials } });
  expectProblem(refused, 422, "validation_failed");
  expect(refused.body.errors.map(({ path }: { path: string }) => path).sort()).toEqual([
    "/config/region",
    "/credentials/accessToken",
    "/credentials/extra",
  ]);
  expect(refused.text).not.toContain(PLANTED);
  expectProblem(await api.send("GET", at("fax"), { token }), 404, "not_found");
});

test("I02: every caller with a tenant reads the catalogue of providers with their JSON Schemas", async () => {
  const { id } = await api.tenant();
  const { status, body } = await api.send("GET", "/v1/integration-providers", { token: await api.user(id, "viewer") });
  expect(status).toBe(200);
  expect(body.data.map((each: { id: string }) => each.id)).toContain("quickbooks");
  const slack = body.data.find((each: { id: string }) => each.id === "slack");
  expect(slack).toMatchObject({ type: "messaging", credentials: { required: ["botToken"], additionalProperties: false } });
});
