import { beforeEach, describe, expect, test } from "vitest";
import type { JsonObject } from "../../shared/kernel/json.ts";
import { useApi } from "./support/api.ts";

let written: Promise<unknown>[] = [];
const api = useApi({ denials: { background: (work) => void written.push(work) } });
beforeEach(() => api.clock.advance(120_000));

/** The entries about refused requests since a time, newest first, once they are written. */
async function denials(since: string): Promise<JsonObject[]> {
  await Promise.all(written);
  written = [];
  const { data } = await api.services.AuditService.list(undefined, { page: 1, limit: 100 }, { action: "access.denied", from: since });
  return data as unknown as JsonObject[];
}

const from = (address: string, more: Record<string, string> = {}) => ({ headers: { "x-forwarded-for": address, ...more } });

describe("refused requests", () => {
  test("A06: 403 is audited in the log of the caller's tenant, with the code, the route, the actor and the address", async () => {
    const since = api.clock.iso();
    const { id } = await api.tenant();
    const token = await api.user(id, "viewer");
    const answer = await api.send("POST", "/v1/webhooks", { token, json: {}, ...from("203.0.113.7", { "x-request-id": "denied-1" }) });
    expect(answer.status).toBe(403);
    expect(await denials(since)).toMatchObject([{
      resource: "route",
      resourceId: "POST /v1/webhooks",
      tenantId: id,
      actor: { type: "user" },
      data: { code: "insufficient_scope", status: 403 },
      ipAddress: "203.0.113.7",
      requestId: "denied-1",
    }]);
  });

  test("A06: 401 is audited for a well-formed credential alone, with the key if that is known", async () => {
    const since = api.clock.iso();
    const key = await api.services.ApiKeyService.generate("Revoked", ["read:plans"]);
    await api.services.ApiKeyService.revoke(key.id);
    for (const token of [key.secret, "garbage", "a.b.c"]) {
      expect((await api.send("GET", "/v1/plans", { token, ...from("203.0.113.8") })).status).toBe(401);
    }
    expect((await api.send("GET", "/v1/plans", from("203.0.113.8"))).status).toBe(401);
    expect((await api.send("GET", "/v1/plans", { token: await api.signer.sign("nobody") })).status).toBe(403);
    expect((await api.send("GET", "/v1/plans", { token: "a.b.c", ...from("203.0.113.9") })).status).toBe(401);
    const found = await denials(since);
    const unknown = found.filter(({ actor }) => (actor as JsonObject)["id"] === "anonymous").map(({ ipAddress }) => ipAddress);
    expect(unknown.sort()).toEqual(["203.0.113.8", "203.0.113.9"]);
    await api.services.ErasureService.erase({ records: ["address:203.0.113.8"] });
    expect((await denials(since)).map(({ ipAddress }) => ipAddress)).toEqual(expect.arrayContaining(["[erased]", "203.0.113.9"]));
    expect(found.map(({ actor, data }) => [(actor as JsonObject)["id"], (data as JsonObject)["code"]]).sort()).toEqual([
      ["anonymous", "unauthenticated"],
      ["anonymous", "unauthenticated"],
      ["nobody", "forbidden"],
      [key.id, "key_revoked"],
    ].sort());
  });

  test("A06: a hidden 404 is audited in the platform's log, and a record that does not exist is not", async () => {
    const since = api.clock.iso();
    const [own, other] = [await api.tenant(), await api.tenant()];
    const token = await api.user(own.id, "owner");
    const { id } = await api.services.WebhookService.create({ url: "https://hooks.example/a", events: ["tenant.*"], tenantId: other.id });
    for (const path of [`/v1/webhooks/${id}`, "/v1/webhooks/webhook_none", `/v1/tenants/${other.id}`]) {
      expect((await api.send("GET", path, { token })).status).toBe(404);
    }
    const found = await denials(since);
    expect(found.map(({ resourceId }) => resourceId).sort()).toEqual(["GET /v1/tenants/:tenantId", "GET /v1/webhooks/:webhookId"]);
    expect(found.filter(({ tenantId }) => tenantId !== undefined)).toEqual([]);
  });

  test("A06: a key that names another tenant has one entry, that of the key", async () => {
    const since = api.clock.iso();
    const [own, other] = [await api.tenant(), await api.tenant()];
    const secret = await api.key(["read:tenants"], own.id);
    expect((await api.send("GET", `/v1/tenants/${other.id}`, { token: secret })).status).toBe(404);
    expect(await denials(since)).toEqual([]);
    const refused = await api.services.AuditService.list(undefined, {}, { action: "api-key.refused", from: since });
    expect(refused.data).toHaveLength(1);
  });

  test("A06: a caller has five entries a minute, and the next one counts those that were left out", async () => {
    const since = api.clock.iso();
    const { id } = await api.tenant();
    const [token, others] = [await api.user(id, "viewer"), api.admin("read_only")];
    const deny = (by: string) => api.send("DELETE", `/v1/tenants/${id}`, { token: by });
    for (let i = 0; i < 12; i++) await deny(token);
    expect(await denials(since)).toHaveLength(5);
    await deny(others);
    expect(await denials(since)).toHaveLength(6);
    api.clock.advance(60_000);
    const later = api.clock.iso();
    await deny(token);
    expect(await denials(later)).toMatchObject([{ data: { leftOut: 7 } }]);
  });

  test("A06: many addresses without a valid credential have 60 entries a minute in all", async () => {
    const since = api.clock.iso();
    for (let i = 0; i < 70; i++) {
      await api.send("GET", "/v1/plans", { token: "a.b.c", ...from(`198.51.100.${i}`) });
      await Promise.all(written);
    }
    expect(await denials(since)).toHaveLength(60);
  });

  test("A06: a log that cannot be written neither delays nor changes the response", async () => {
    const { store } = api.container;
    const broken = new Proxy(store, {
      get: (target, name) => {
        if (name === "commit") return () => Promise.reject(new Error("away"));
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const send = await api.over(broken);
    const answer = await send("POST", "/v1/plans", { token: api.admin("read_only"), json: {} });
    expect(answer.status).toBe(403);
    await Promise.all(written);
    expect(api.logs.filter(({ event }) => event === "denial_not_recorded")).toHaveLength(1);
  });
});
