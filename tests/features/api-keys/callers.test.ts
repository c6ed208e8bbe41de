import { describe, expect, test } from "vitest";
import { type Answer, expectProblem, useApi } from "../../http/support/api.ts";

const api = useApi();
const bearer = (secret: string) => ({ token: secret });
const header = (secret: string) => ({ headers: { "x-api-key": secret } });
const keys = () => api.services.ApiKeyService;
const me = (secret: string) => api.send("GET", "/v1/me", bearer(secret));

async function makeKey(options: Parameters<ReturnType<typeof keys>["generate"]>[2] = {}, scopes: readonly string[] = ["read:*"]) {
  const { id, secret = "" } = await keys().generate("Key", scopes, options);
  return { id, secret };
}

function expectRefusal(answer: Answer, code: string): void {
  expectProblem(answer, 401, code);
  const reason = code === "unauthenticated" ? "" : `, error_description="${code}"`;
  expect(answer.headers.get("www-authenticate")).toBe(`Bearer realm="innkeep", error="invalid_token"${reason}`);
}

/** A secret with another character at a position. */
const garbled = (secret: string, at: number) => `${secret.slice(0, at)}${secret[at] === "x" ? "y" : "x"}${secret.slice(at + 1)}`;

describe("an API key as a caller", () => {
  test("AK18: is accepted as Bearer and as X-API-Key, and both at once only if they are the same", async () => {
    const { id, secret } = await makeKey();
    for (const sent of [bearer(secret), header(secret), { ...bearer(secret), ...header(secret) }]) {
      const answer = await api.send("GET", "/v1/me", sent);
      expect(answer.status, answer.text).toBe(200);
      expect(answer.body).toMatchObject({ type: "api_key", userId: id, name: "Key", tenantId: null });
      expect(answer.body).not.toHaveProperty("role");
    }
    const { secret: other } = await makeKey();
    for (const token of [other, api.admin("super_admin")]) {
      expectProblem(await api.send("GET", "/v1/me", { token, ...header(secret) }), 400, "bad_request");
    }
    expectProblem(await api.send("GET", "/v1/me", header(api.admin("super_admin"))), 401, "unauthenticated");
  });

  test("AK18: in a query string is refused whatever the parameter, and is neither repeated nor logged", async () => {
    const { secret } = await makeKey();
    const queries = [
      `api_key=${secret}`,
      "api_key=other",
      "apikey=x",
      "X-Api-Key=x",
      "key=x",
      "token=x",
      `search=${secret}`,
      `${secret}=1`,
    ];
    for (const query of queries) {
      for (const sent of [{}, bearer(secret)]) {
        const answer = await api.send("GET", `/v1/plans?${query}`, sent);
        expectProblem(answer, 400, "bad_request");
        expect(answer.body.detail).toContain("Consider it leaked");
        expect(answer.text).not.toContain(secret);
      }
    }
    for (const sent of [secret, secret.replaceAll("_", "%5F"), secret.replaceAll("_", "%5f")]) {
      const answer = await api.send("GET", `/v1/api-keys/${sent}`, { ...bearer(secret), headers: { "x-request-id": secret } });
      expectProblem(answer, 404, "not_found");
      expect(answer.headers.get("x-request-id")).not.toBe(secret);
    }
    expectProblem(await api.send("GET", `/v1/tenants/${secret}`, bearer(secret)), 404, "not_found");
    expect(JSON.stringify(api.logs)).not.toContain(secret.slice(8));
    const { id } = await api.tenant();
    const declared = await api.send("GET", `/v1/tenants/${id}/entitlements/check?key=api`, bearer(secret));
    expect(declared.status, declared.text).toBe(200);
  });

  test("AK01: no cache may store the response that shows the secret, nor may a tenant choose the id or the rate limit of its key", async () => {
    const { id: tenantId } = await api.tenant();
    const token = await api.user(tenantId, "owner");
    const json = { name: "Key", scopes: ["read:plans"] };
    const made = await api.send("POST", "/v1/api-keys", { token, json });
    const rotated = await api.send("POST", `/v1/api-keys/${made.body.id}/rotate`, { token, json: { overlapSeconds: 0 } });
    expect([made, rotated].map(({ headers }) => headers.get("cache-control"))).toEqual(["no-store", "no-store"]);
    const rateLimit = { limit: 1_000_000, windowSeconds: 1 };
    const { id } = await makeKey();
    for (const field of [{ rateLimit }, { id }, { id: "key_free" }]) {
      for (const sent of [{ token }, header(await api.key(["write:api-keys", "read:plans"], tenantId))]) {
        expectProblem(await api.send("POST", "/v1/api-keys", { ...sent, json: { ...json, ...field } }), 403, "forbidden");
      }
    }
    for (const limit of [rateLimit, null]) {
      expectProblem(await api.send("PATCH", `/v1/api-keys/${made.body.id}`, { token, json: { rateLimit: limit } }), 403, "forbidden");
    }
    expect((await api.send("PATCH", `/v1/api-keys/${made.body.id}`, { token: api.admin("admin"), json: { rateLimit } })).status).toBe(200);
  });

  test("AK03: that is garbled anywhere is refused without a read of the database", async () => {
    const { secret } = await makeKey();
    let reads = 0;
    const store = api.open.another();
    const own = new Proxy(store, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        return typeof value !== "function" ? value : (...args: unknown[]) => {
          reads += 1;
          return Reflect.apply(value, target, args) as unknown;
        };
      },
    });
    const send = await api.over(own);
    for (let at = 0; at < secret.length; at++) {
      expectRefusal(await send("GET", "/v1/plans", header(garbled(secret, at))), "unauthenticated");
    }
    for (const wrong of [secret.slice(0, -1), `${secret}0`, secret.toUpperCase(), secret.slice(8), "ik_live_", "x"]) {
      expectRefusal(await send("GET", "/v1/plans", header(wrong)), "unauthenticated");
    }
    expect(reads).toBe(0);
    expect((await send("GET", "/v1/plans", header(secret))).status).toBe(200);
    expect(reads).toBeGreaterThan(0);
  });

  test("AK10: is refused from the instant of its expiry on, and AK05: from the request after its revocation, in another process too", async () => {
    const expiring = await makeKey({ expiresAt: api.clock.iso(10_000) });
    const other = await api.over(api.open.another());
    api.clock.advance(9_999);
    expect((await me(expiring.secret)).status).toBe(200);
    api.clock.advance(1);
    expectRefusal(await me(expiring.secret), "key_expired");
    const { id, secret } = await makeKey();
    expect((await other("GET", "/v1/me", bearer(secret))).status).toBe(200);
    const revoked = await api.send("POST", `/v1/api-keys/${id}/revoke`, {
      token: api.admin("admin"),
      json: { reason: "The laptop was lost." },
    });
    expect(revoked.body).toMatchObject({ revokedReason: "The laptop was lost.", revokedAt: api.clock.iso(), enabled: false });
    for (const send of [api.send, other]) expectRefusal(await send("GET", "/v1/me", bearer(secret)), "key_revoked");
    const disabled = await makeKey();
    await keys().update(disabled.id, { enabled: false });
    expectRefusal(await me(disabled.secret), "key_disabled");
    await keys().update(disabled.id, { enabled: true });
    expect((await me(disabled.secret)).status).toBe(200);
    expectRefusal(await me((await makeKeyOfAnother()).secret), "unauthenticated");
  });

  test("AK07: has its scopes and no more, and a tenant's key never the routes of the platform alone", async () => {
    const { id } = await api.tenant();
    const reader = await api.key(["read:plans"]);
    expect((await api.send("GET", "/v1/plans", bearer(reader))).status).toBe(200);
    expectProblem(await api.send("GET", "/v1/metrics", bearer(reader)), 403, "insufficient_scope");
    expectProblem(await api.send("POST", "/v1/plans", { ...bearer(reader), json: {} }), 403, "insufficient_scope");
    const platform = await api.key(["write:tenants"]);
    expect((await api.send("POST", `/v1/tenants/${id}/suspend`, { ...bearer(platform), json: { reason: "unpaid" } })).status).toBe(200);
    await api.services.TenantService.unsuspend(id);
    const own = await api.key(["write:tenants"], id);
    expectProblem(await api.send("POST", `/v1/tenants/${id}/suspend`, { ...bearer(own), json: { reason: "no" } }), 403, "forbidden");
    const renamed = await api.send("PATCH", `/v1/tenants/${id}`, { ...bearer(own), json: { name: "Renamed by a key" } });
    expect(renamed.status, renamed.text).toBe(200);
    const { data } = await api.services.AuditService.getByResource("tenant", id);
    expect(data.find(({ action }) => action === "tenant.updated")).toMatchObject({ actor: { type: "api_key" }, tenantId: id });
  });

  test("T08: of a suspended tenant is refused with 403 and of a deleted one with 401, but for what stays open", async () => {
    const { id } = await api.tenant();
    const secret = await api.key(["read:tenants", "read:invoices"], id);
    await api.services.TenantService.suspend(id, "unpaid");
    expectProblem(await api.send("GET", `/v1/tenants/${id}`, bearer(secret)), 403, "tenant_suspended");
    expect((await api.send("GET", `/v1/tenants/${id}/invoices`, bearer(secret))).status).toBe(200);
    await api.services.TenantService.unsuspend(id);
    expect((await api.send("GET", `/v1/tenants/${id}`, bearer(secret))).status).toBe(200);
    await api.services.TenantService.delete(id);
    expectRefusal(await api.send("GET", `/v1/tenants/${id}`, bearer(secret)), "unauthenticated");
  });

  test("AK08, T14: asked for another tenant by path, query, header, host or body answers 404, with one audit entry a minute", async () => {
    const [own, other] = [await api.tenant(), await api.tenant()];
    const { id, secret } = await makeKey({ tenantId: own.id });
    const refusals = async () =>
      (await api.services.AuditService.getByResource("api-key", id)).data.filter(({ action }) => action === "api-key.refused");
    const asks: readonly [string, Record<string, string>][] = [
      [`/v1/tenants/${other.id}`, {}],
      ["/v1/tenants/tn_none", {}],
      [`/v1/audit?tenantId=${other.id}`, {}],
      ["/v1/plans", { "x-tenant-id": other.id }],
      [`http://${other.subdomain}.innkeep.example/v1/plans`, {}],
      ["http://unclaimed.innkeep.example/v1/plans", {}],
    ];
    for (const [path, headers] of asks) {
      const answer = await api.send("GET", path, { headers: { ...headers, "x-api-key": secret } });
      expectProblem(answer, 404, "not_found");
      if (!path.includes(other.id) && !headers["x-tenant-id"]) expect(answer.text).not.toContain(other.id);
    }
    expect(await refusals()).toHaveLength(1);
    api.clock.advance(60_000);
    await api.send("GET", `/v1/tenants/${other.id}`, { headers: { "x-api-key": secret, "x-request-id": "asked-again" } });
    const [latest, ...rest] = await refusals();
    expect(latest).toMatchObject({
      actor: { type: "api_key", id },
      data: { asked: other.id, keyTenantId: own.id },
      requestId: "asked-again",
    });
    expect(latest).not.toHaveProperty("tenantId");
    expect(rest).toHaveLength(1);
    api.clock.advance(60_000);
    expectProblem(await api.send("GET", "/v1/plans", { headers: { "x-api-key": secret, "x-tenant-id": secret } }), 404, "not_found");
    expect((await refusals())[0]).toMatchObject({ data: { asked: "[redacted]" } });
    const bodies: readonly [string, object][] = [
      ["/v1/api-keys", { name: "Other", scopes: ["read:plans"], tenantId: other.id }],
      ["/ofrep/v1/evaluate/flags", { context: { targetingKey: other.id } }],
      ["/ofrep/v1/evaluate/flags/any", { context: { targetingKey: other.id } }],
    ];
    const writing = await makeKey({ tenantId: own.id }, ["read:*", "write:*"]);
    for (const [path, json] of bodies) {
      api.clock.advance(60_000);
      const at = api.clock.iso();
      expectProblem(await api.send("POST", path, { ...bearer(writing.secret), json }), 404, "not_found");
      const [entry] = (await api.services.AuditService.getByResource("api-key", writing.id)).data;
      expect(entry).toMatchObject({ action: "api-key.refused", data: { asked: other.id }, timestamp: at });
    }
    expect((await api.send("GET", `/v1/tenants/${own.id}`, { headers: { "x-api-key": secret } })).status).toBe(200);
    const platform = await api.key(["read:plans"]);
    expect((await api.send("GET", "/v1/plans", { headers: { "x-api-key": platform, "x-tenant-id": other.id } })).status).toBe(200);
    expect(await api.services.AuditService.verify()).toMatchObject({ ok: true });
  });

  test.each([
    ["203.0.113.7", ["203.0.113.7"], true],
    ["203.0.113.8", ["203.0.113.7"], false],
    ["203.0.113.8", ["203.0.113.0/29", "2001:db8::/32"], false],
    ["2001:db8:1::1", ["203.0.113.0/29", "2001:db8::/32"], true],
    ["2001:DB9::1", ["2001:db8::/32"], false],
    ["::ffff:203.0.113.7", ["203.0.113.0/24"], true],
    ["198.51.100.1, 203.0.113.7", ["198.51.100.1"], false],
    ["203.0.113.7", ["::ffff:203.0.113.0/120"], true],
    ["203.0.113.7:4711", ["203.0.113.7"], true],
    ["[2001:db8:1::1]:443", ["2001:db8::/32"], true],
    ["010.0.0.1", ["8.0.0.1", "10.0.0.1"], false],
    ["203.0.7", ["203.0.0.7"], false],
    [undefined, ["0.0.0.0/0", "::/0"], false],
  ])("AK14: from %s with the addresses %j is allowed: %s", async (from, allowedIps, allowed) => {
    const { secret } = await makeKey({ allowedIps });
    const answer = await api.send("GET", "/v1/plans", {
      headers: { "x-api-key": secret, ...(from === undefined ? {} : { "x-forwarded-for": from }) },
    });
    if (allowed) expect(answer.status, answer.text).toBe(200);
    else expectProblem(answer, 403, "address_not_allowed");
  });

  test("AK06: is counted with its last address, in the background, 1,000 calls of it in at most 20 writes", async () => {
    const { id, secret } = await makeKey();
    const store = api.open.another();
    let writes = 0;
    const own = Object.create(store) as typeof store;
    own.increment = (...args) => {
      writes += 1;
      return store.increment(...args);
    };
    const send = await api.over(own);
    const call = () => send("GET", "/v1/me", { headers: { "x-api-key": secret, "x-forwarded-for": "203.0.113.9" } });
    for (let block = 0; block < 20; block++) {
      const answers = await Promise.all(Array.from({ length: 50 }, call));
      expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    }
    const shown = async () => await keys().get(id);
    await expect.poll(async () => (await shown())?.usageCount, { timeout: 8_000 }).toBe(1_000);
    expect(await shown()).toMatchObject({ lastUsedIp: "203.0.113.9", lastUsedAt: api.clock.iso(), unusedSince: api.clock.iso() });
    expect(writes).toBeLessThanOrEqual(20);
  });
});

/** A well-formed key that this platform has not made. */
async function makeKeyOfAnother(): Promise<{ readonly secret: string }> {
  const { newSecret } = await import("../../../shared/features/api-keys/secret.ts");
  return await newSecret("live");
}
