import { describe, expect, test } from "vitest";
import { isMutation, type Route } from "../../shared/core/route.ts";
import { expectProblem, useApi } from "./support/api.ts";
import { bodyOf, pathOf } from "./support/samples.ts";

const api = useApi();
const admin = () => api.admin("super_admin");
const patch = (json: object, token = admin(), headers: Record<string, string> = {}) =>
  api.send("PATCH", "/v1/settings", { token, json, headers });
const call = (route: Route, tenantId: string, token: string) => {
  const json = bodyOf(route, { tenantId });
  return api.send(route.method, pathOf(route, { tenantId }), { token, ...(json ? { json } : {}) });
};
const changing = () => api.routes.filter((route) => isMutation(route) && route.scope !== "public");

describe("the settings", () => {
  test("S02: have an ETag before anything is stored, and a change obeys If-Match from the first one on", async () => {
    const first = await api.send("GET", "/v1/settings", { token: api.admin("read_only") });
    const etag = first.headers.get("etag") ?? "";
    expect([first.status, etag]).toEqual([200, '"unstored"']);
    expectProblem(await patch({ ccpaEnabled: false }, admin(), { "if-match": '"1"' }), 412, "precondition_failed");
    const changed = await patch({ ccpaEnabled: false }, admin(), { "if-match": etag });
    expect([changed.status, changed.body.updatedBy]).toEqual([200, "user-super_admin"]);
    const stale = await patch({ ccpaEnabled: true }, admin(), { "if-match": etag });
    expectProblem(stale, 412, "precondition_failed");
    expect(stale.headers.get("etag")).toBe(changed.headers.get("etag"));
    expectProblem(await patch({ currency: "EUR" }), 422, "validation_failed");
  });

  test("S03: a change is reverted by one request", async () => {
    const { body } = await patch({ sessionTimeoutMinutes: 15 });
    const path = `/v1/settings/history/${body.revision}`;
    const change = await api.send("GET", path, { token: admin() });
    expect(change.body.changes).toEqual({ before: { sessionTimeoutMinutes: 60 }, after: { sessionTimeoutMinutes: 15 } });
    const reverted = await api.send("POST", `${path}/revert`, { token: admin() });
    expect([reverted.status, reverted.body.sessionTimeoutMinutes]).toEqual([200, 60]);
  });

  test("S05: what is public of them needs no credential, and is not sent again while it is the same", async () => {
    await patch({ branding: { primaryColor: "#0a7c66" }, slackWebhookUrl: "https://hooks.slack.com/services/private" });
    const first = await api.send("GET", "/v1/settings/public");
    expect([first.status, first.headers.get("cache-control")]).toEqual([200, "public, no-cache"]);
    expect(first.body).toMatchObject({ branding: { primaryColor: "#0a7c66" }, maintenance: null });
    expect(first.text).not.toMatch(/slack|ivate|SSO|updatedBy/);
    const headers = { "if-none-match": first.headers.get("etag") ?? "" };
    expect((await api.send("GET", "/v1/settings/public", { headers })).status).toBe(304);
    await patch({ maintenance: { message: "Moving" } });
    const changed = await api.send("GET", "/v1/settings/public", { headers });
    expect([changed.status, changed.body.maintenance]).toEqual([200, { message: "Moving" }]);
    await patch({ maintenance: null });
  });
});

describe("the sign-in that the settings demand", () => {
  const SIGN_INS = {
    password: {},
    second: { aal: "aal2", amr: [{ method: "password", timestamp: 1 }, { method: "totp", timestamp: 2 }] },
    single: { aal: "aal1", amr: [{ method: "sso/saml", timestamp: 1 }] },
    both: { aal: "aal2", amr: ["sso/saml", "mfa"] },
  } as const;
  /** What each sign-in gets: the status, or the code of the refusal. */
  const answers = async (path: string, subject: string, app_metadata: object = {}) =>
    Object.fromEntries(
      await Promise.all(
        Object.entries(SIGN_INS).map(async ([name, claims]) => {
          const { status, body } = await api.send("GET", path, { token: await api.signer.sign(subject, { app_metadata, ...claims }) });
          return [name, body?.code ?? status] as const;
        }),
      ),
    );
  const OPEN = { password: 200, second: 200, single: 200, both: 200 };
  const NEED_SECOND = { ...OPEN, password: "mfa_required", single: "mfa_required" };
  const NEED_BOTH = { ...NEED_SECOND, second: "sso_required" };

  test("S02: a second factor and single sign-on are demanded of administrators and of tenants' users, not of API keys", async () => {
    const { id } = await api.tenant();
    const ofAdmin = () => answers("/v1/settings", "user-admin");
    const ofUser = () => answers(`/v1/tenants/${id}`, "guest", { tenant_id: id, tenant_role: "owner" });
    expect([await ofAdmin(), await ofUser()]).toEqual([OPEN, OPEN]);
    const key = await api.key(["write:settings"]);
    await patch({ require2FA: true }, key);
    expect([await ofAdmin(), await ofUser()]).toEqual([NEED_SECOND, NEED_SECOND]);
    await patch({ enforceSSO: true }, key);
    expect([await ofAdmin(), await ofUser()]).toEqual([NEED_BOTH, NEED_BOTH]);
    expectProblem(await patch({ enforceSSO: false }), 403, "mfa_required");
    expect((await api.send("GET", "/v1/settings/public")).status).toBe(200);
    expect((await patch({ require2FA: false, enforceSSO: false }, key)).status).toBe(200);
    expect([await ofAdmin(), await ofUser()]).toEqual([OPEN, OPEN]);
  });

  test("S07: a plan and a tenant can demand them too, and a tenant cannot take away what its plan demands", async () => {
    const limits = { users: 1, properties: 1, rooms: 1, bookings: 1, api_calls: 1, storage: 1, customDomains: 1 };
    const plan = { name: "Guarded", price: 1, currency: "USD", interval: "monthly", limits, settings: { require2FA: true } } as const;
    await api.services.PlanService.create(plan);
    const { id } = await api.tenant({ plan: "Guarded", settings: { require2FA: false } });
    const ofUser = () => answers(`/v1/tenants/${id}/settings`, "guest", { tenant_id: id });
    expect(await ofUser()).toEqual(NEED_SECOND);
    const { body } = await api.send("GET", `/v1/tenants/${id}/settings`, { token: admin() });
    expect(body.settings.require2FA).toEqual({ value: true, from: "plan" });
    await api.services.TenantService.update(id, { settings: { enforceSSO: true } });
    expect(await ofUser()).toEqual(NEED_BOTH);
    expect(await answers("/v1/settings", "user-admin")).toEqual(OPEN);
  });
});

describe("a maintenance of the platform", () => {
  test("S06: refuses every change with 503 and the seconds until its end, while reads and health go on", async () => {
    const { id } = await api.tenant();
    const tokens = [api.admin("admin"), await api.user(id, "owner"), await api.key(["read:*", "write:*"])];
    const reads = (token: string) => api.send("GET", `/v1/tenants/${id}`, { token });
    const statuses = await Promise.all(tokens.map(async (token) => (await reads(token)).status));
    await patch({ maintenance: { endsAt: api.clock.iso(90_500), message: "The database is moved." } });
    const before = await api.auditCount();
    const wrong: string[] = [];
    for (const route of changing().filter(({ openInMaintenance }) => !openInMaintenance)) {
      const answer = await call(route, id, api.admin("admin"));
      // A route that this admin may not call says so first.
      if (answer.status !== 503 && answer.body?.code !== "insufficient_scope") wrong.push(`${route.operationId} ${answer.status}`);
      else if (answer.status === 503 && answer.headers.get("retry-after") !== "91") wrong.push(`${route.operationId} has no end`);
    }
    expect(wrong).toEqual([]);
    for (const token of tokens) {
      const refused = await api.send("PATCH", `/v1/tenants/${id}`, { token, json: { name: "Renamed" } });
      expectProblem(refused, 503, "maintenance");
      expect(refused.body.detail).toContain("The database is moved.");
    }
    expect(await api.auditCount()).toBe(before);
    expect(await Promise.all(tokens.map(async (token) => (await reads(token)).status))).toEqual(statuses);
    expect((await api.send("GET", "/health")).status).toBe(200);
    const readOnly = { token: await api.user(id, "owner"), json: { planId: "Basic" } };
    expect((await api.send("POST", `/v1/tenants/${id}/subscription/preview`, readOnly)).body?.code).not.toBe("maintenance");
    for (const [method, path] of [["DELETE", `/v1/tenants/${id}`], ["POST", "/v1/policies/run"]] as const) {
      const run = async (dry: string) => (await api.send(method, `${path}?${dry}`, { token: api.admin("admin") })).status;
      expect([await run("dryRun=true"), await run("dryRun=false"), await run("dryRun=true&dryRun=false")]).toEqual([200, 503, 400]);
    }
    expect(await api.auditCount()).toBe(before);
    api.clock.advance(90_500);
    const after = await api.send("PATCH", `/v1/tenants/${id}`, { token: await api.key(["write:*"]), json: { name: "Renamed" } });
    expect(after.status, after.text).toBe(200);
    await patch({ maintenance: null });
  });

  test("S06: lets a super_admin change everything, and whoever may change the settings end it", async () => {
    const { id } = await api.tenant();
    const token = await api.signer.sign("user-admin");
    expect((await patch({ maintenance: {} }, token)).status).toBe(200);
    const refused = await api.send("PATCH", `/v1/tenants/${id}`, { token, json: { name: "A" } });
    expect(refused.headers.get("retry-after")).toBe("60");
    expect((await api.send("PATCH", `/v1/tenants/${id}`, { token: await api.signer.sign("user-super_admin"), json: { name: "B" } })).status)
      .toBe(200);
    expect((await patch({ maintenance: null }, token)).status).toBe(200);
    expect((await api.send("PATCH", `/v1/tenants/${id}`, { token, json: { name: "C" } })).status).toBe(200);
    const { body } = await patch({ maintenance: {} }, token);
    expect((await api.send("POST", `/v1/settings/history/${body.revision}/revert`, { token })).status).toBe(200);
  });

  test("S06: one that is set after one that is over begins at once, without its end", async () => {
    const token = await api.signer.sign("user-super_admin");
    await patch({ maintenance: { endsAt: api.clock.iso(1_000) } }, token);
    api.clock.advance(2_000);
    const again = await patch({ maintenance: { message: "Once more" } }, token);
    expect([again.status, again.body.maintenance]).toEqual([200, { message: "Once more" }]);
    const over = await patch({ maintenance: { endsAt: api.clock.iso(-1) } }, token);
    expectProblem(over, 422, "validation_failed");
    expect(over.body.errors).toEqual([{ path: "/maintenance/endsAt", message: "must be in the future", code: "invalid" }]);
    await patch({ maintenance: null }, token);
  });
});

test("CP20: a maintenance of one tenant refuses its users' and keys' changes, ends by itself, and touches nobody else", async () => {
  const token = await api.signer.sign("user-admin");
  const [one, other] = [await api.tenant(), await api.tenant()];
  const callers = async (id: string) => [await api.user(id, "owner"), await api.key(["read:*", "write:*"], id)];
  const change = (id: string, by: string, json: object = { name: "Renamed" }) =>
    api.send("PATCH", `/v1/tenants/${id}`, { token: by, json });
  const [own, others] = [await callers(one.id), await callers(other.id)];
  for (const by of own) expectProblem(await change(one.id, by, { maintenance: {} }), 403, "forbidden");
  const set = await change(one.id, token, { maintenance: { endsAt: api.clock.iso(30_000), message: "We move your data." } });
  expect(set.body.maintenance).toEqual({ endsAt: api.clock.iso(30_000), message: "We move your data." });
  for (const by of own) {
    const refused = await change(one.id, by);
    expectProblem(refused, 503, "maintenance");
    expect([refused.headers.get("retry-after"), refused.body.detail]).toEqual(["30", expect.stringContaining("We move your data.")]);
    expect((await api.send("GET", `/v1/tenants/${one.id}`, { token: by })).status).toBe(200);
    for (const path of [`/v1/tenants/${one.id}/grants`, "/v1/webhooks"]) {
      const answer = await api.send("POST", path, { token: by, json: {} });
      expect(["maintenance", "insufficient_scope", "forbidden"]).toContain(answer.body.code);
    }
  }
  for (const by of others) expect((await change(other.id, by)).status).toBe(200);
  expect((await change(one.id, token, { name: "By the platform" })).status).toBe(200);
  api.clock.advance(30_000);
  for (const by of own) expect((await change(one.id, by)).status).toBe(200);
});
