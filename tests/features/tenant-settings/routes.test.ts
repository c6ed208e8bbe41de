import { describe, expect, test } from "vitest";
import { expectProblem, useApi } from "../../http/support/api.ts";
import { codeOf } from "../../support/store.ts";

const api = useApi();
const admin = () => api.signer.sign("user-super_admin");
const patch = async (path: string, json: object, token?: string) => await api.send("PATCH", path, { token: token ?? await admin(), json });

describe("the settings of a tenant", () => {
  test("S07: are those of the platform, replaced by those of its plan, replaced by its own, each with its origin", async () => {
    await api.services.PlanService.create({ name: "Secure", price: 1, currency: "USD", interval: "monthly", limits: {} });
    const { id } = await api.tenant({ plan: "Secure" });
    const viewer = { app_metadata: { tenant_id: id, tenant_role: "viewer" }, aal: "aal2" };
    const read = async () =>
      (await api.send("GET", `/v1/tenants/${id}/settings`, { token: await api.signer.sign("guest", viewer) })).body.settings;
    expect(await read()).toMatchObject({
      sessionTimeoutMinutes: { value: 60, from: "platform" },
      require2FA: { value: false, from: "platform" },
    });
    await patch("/v1/settings", { sessionTimeoutMinutes: 45 });
    await patch("/v1/plans/Secure", { settings: { require2FA: true, sessionTimeoutMinutes: 30, theme: "dark" } });
    await patch(`/v1/tenants/${id}`, { settings: { sessionTimeoutMinutes: 15, language: "de" } });
    expect(await read()).toEqual({
      enforceSSO: { value: false, from: "platform" },
      require2FA: { value: true, from: "plan" },
      sessionTimeoutMinutes: { value: 15, from: "tenant" },
      gdprEnabled: { value: true, from: "platform" },
      ccpaEnabled: { value: true, from: "platform" },
      dataRetentionDays: { value: 730, from: "platform" },
      emailNotifications: { value: true, from: "platform" },
      theme: { value: "dark", from: "plan" },
      language: { value: "de", from: "tenant" },
    });
    await patch(`/v1/tenants/${id}`, { settings: { sessionTimeoutMinutes: null } });
    expect((await read()).sessionTimeoutMinutes).toEqual({ value: 30, from: "plan" });
  });

  test("S07: are checked like the platform's where they have its names", async () => {
    const { id } = await api.tenant();
    for (const path of [`/v1/tenants/${id}`, "/v1/plans/Pro"]) {
      const answer = await patch(path, { settings: { sessionTimeoutMinutes: "long" } });
      expectProblem(answer, 422, "validation_failed");
      expect(answer.body.errors).toMatchObject([{ path: "/settings/sessionTimeoutMinutes" }]);
    }
  });
});

describe("the branding", () => {
  test("T19: of a tenant is public at its hosts, over that of the platform, and without what it does not declare", async () => {
    await patch("/v1/settings", { platformName: "Staywell", branding: { primaryColor: "#111111", secondaryColor: "#222222" } });
    const tenant = await api.tenant({
      customDomain: "stay.branded.example",
      branding: {
        logoUrl: "https://cdn.example/aurora.svg",
        primaryColor: "#0a7c66",
        emailSenderName: "Aurora",
        emailSenderAddress: "stay@aurora.example",
        internalNote: "never public",
      },
    });
    const places = [`subdomain=${tenant.subdomain}`, `host=${tenant.subdomain}.innkeep.example`, "host=stay.branded.example"];
    for (const place of places) {
      const answer = await api.send("GET", `/v1/branding?${place}`);
      expect([answer.status, answer.headers.get("cache-control")], place).toEqual([200, "public, no-cache"]);
      expect(answer.body).toEqual({
        name: tenant.name,
        logoUrl: "https://cdn.example/aurora.svg",
        primaryColor: "#0a7c66",
        secondaryColor: "#222222",
        emailSenderName: "Aurora",
        emailSenderAddress: "stay@aurora.example",
      });
    }
    const nobody = await api.send("GET", "/v1/branding?host=nobody.innkeep.example");
    expect(nobody.body).toEqual({ name: "Staywell", primaryColor: "#111111", secondaryColor: "#222222" });
    expectProblem(await api.send("GET", "/v1/branding"), 400, "invalid_parameter");
  });

  test("T19: is kept in memory, is the new one for its writer at once, and is not sent again while it is the same", async () => {
    const { id, subdomain } = await api.tenant({ branding: { primaryColor: "#000001" } });
    const path = `/v1/branding?subdomain=${subdomain}`;
    const other = await api.over(api.open.store);
    const [first] = [await api.send("GET", path), await other("GET", path)];
    const headers = { "if-none-match": first.headers.get("etag") ?? "" };
    expect((await api.send("GET", path, { headers })).status).toBe(304);
    await patch(`/v1/tenants/${id}`, { branding: { primaryColor: "#000002" } });
    expect((await api.send("GET", path, { headers })).body.primaryColor).toBe("#000002");
    expect((await other("GET", path, { headers })).status).toBe(304);
    api.clock.advance(10_000);
    expect((await other("GET", path, { headers })).body.primaryColor).toBe("#000002");
  });

  test("T19: refuses what is no web address, colour or email address, with a pointer to each", async () => {
    const { id } = await api.tenant();
    const answer = await patch(`/v1/tenants/${id}`, {
      branding: {
        logoUrl: "javascript:alert(1)",
        faviconUrl: "http://plain.example/x.ico",
        secondaryColor: "red",
        emailSenderAddress: "nobody",
      },
    });
    expectProblem(answer, 422, "validation_failed");
    expect(answer.body.errors.map(({ path }: { path: string }) => path).sort()).toEqual([
      "/branding/emailSenderAddress",
      "/branding/faviconUrl",
      "/branding/logoUrl",
      "/branding/secondaryColor",
    ]);
  });
});

describe("metadata", () => {
  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i]));

  test("T20: has at most 50 names with values of at most 500 characters, public or private", async () => {
    const { id } = await api.tenant({ metadata: many(50) });
    for (
      const [path, member] of [[`/v1/tenants/${id}`, "metadata"], [`/v1/tenants/${id}/private-metadata`, "values"]] as const
    ) {
      await patch(path, { [member]: many(50) });
      for (
        const [values, at] of [
          [{ one: 1 }, `/${member}`],
          [{ k1: "x".repeat(501) }, `/${member}/k1`],
          [{ k1: Array<number>(300).fill(1) }, `/${member}/k1`],
        ] as const
      ) {
        const answer = await patch(path, { [member]: values });
        expectProblem(answer, 422, "validation_failed");
        expect(answer.body.errors.map((error: { path: string }) => error.path)).toEqual([at]);
      }
      expect((await patch(path, { [member]: { k1: "x".repeat(500), k2: null, more: 1 } })).status).toBe(200);
    }
    expect(await codeOf(() => api.tenant({ metadata: many(51) }))).toBe("validation_failed");
  });

  test("T20: that is private reaches no caller of the tenant: no route, event, audit entry or service", async () => {
    const { id } = await api.tenant({ metadata: { shown: "to the tenant" } });
    const path = `/v1/tenants/${id}/private-metadata`;
    expect((await patch(path, { values: { risk: "planted-private-note" } })).status).toBe(200);
    const read = await api.send("GET", path, { token: api.admin("read_only") });
    expect(read.body).toMatchObject({ tenantId: id, values: { risk: "planted-private-note" } });
    for (const token of [await api.user(id, "owner"), await api.key(["read:*", "write:*"], id)]) {
      expectProblem(await api.send("GET", path, { token }), 403, "forbidden");
      expectProblem(await patch(path, { values: {} }, token), 403, "forbidden");
      for (const other of [`/v1/tenants/${id}`, `/v1/tenants/${id}/overview`, "/v1/audit?limit=100", `/v1/tenants/${id}/settings`]) {
        const answer = await api.send("GET", other, { token });
        expect([answer.status, answer.text.includes("planted")], other).toEqual([200, false]);
      }
    }
    const own = api.container.services({ actor: { type: "user", id: "u" }, tenantId: id, requestId: "r", clock: api.clock, role: "owner" });
    expect(await codeOf(() => own.PrivateMetadataService.get(id))).toBe("forbidden");
    const stored = await api.open.store.getByPrefix("outbox");
    expect(JSON.stringify(stored)).not.toContain("planted");
    const entries = await api.services.AuditService.getByResource("private-metadata", id);
    expect(entries.data).toMatchObject([{
      action: "private-metadata.updated",
      changes: { after: { values: { risk: "planted-private-note" } } },
    }]);
    expect(entries.data[0]).not.toHaveProperty("tenantId");
    await api.services.TenantService.remove(id);
    expect(await api.open.store.get(`private:${id}`)).toBeNull();
  });
});
