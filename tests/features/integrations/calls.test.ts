import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { codeOf } from "../../support/store.ts";
import { HUBSPOT, openIntegrations, type Scripted, TOKEN } from "./support.ts";

let opened: Awaited<ReturnType<typeof openIntegrations>>;
beforeAll(async () => void (opened = await openIntegrations()));
afterAll(() => opened.close());

async function connected(provider = "hubspot"): Promise<string> {
  const { id } = await opened.tenant();
  await opened.integrations.connect(id, provider, HUBSPOT);
  opened.network.next = { status: 200 };
  opened.network.during = () => Promise.resolve();
  return id;
}
const actions = async (id: string) =>
  (await opened.auditOf(id)).map(({ action }) => String(action)).filter((name) => name.startsWith("integration."));
const logged = async (id: string) => (await opened.over(opened.store).ConnectorEventService.list(id)).data;
const read = (id: string, service = opened.integrations) =>
  service.call(id, "hubspot", { action: "read_contacts", target: "contacts" }, async ({ send, credentials }) => {
    const { response: _, ...result } = await send({ method: "GET", url: "https://api.hubapi.com/crm/v3/objects/contacts", headers: {} });
    return { ...result, value: credentials };
  });

describe("a connection test", () => {
  test("I15: calls the provider with the stored credentials and a deadline, and keeps its typed outcome", async () => {
    const id = await connected();
    opened.network.next = { status: 403 };
    const tested = await opened.integrations.test(id, "hubspot");
    expect(tested).toMatchObject({ outcome: "forbidden", statusCode: 403, durationMs: 7, at: opened.clock.iso() });
    expect(tested.message).toContain("Grant them more permissions");
    const request = opened.network.requests.at(-1);
    expect(request).toMatchObject({ url: "https://api.hubapi.com/account-info/v3/details", timeoutMs: 10_000 });
    expect(request?.headers["authorization"]).toBe(`Bearer ${TOKEN}`);
    expect(await opened.integrations.get(id, "hubspot")).toMatchObject({
      lastTest: { outcome: "forbidden", statusCode: 403 },
      version: tested.version,
    });
    expect(await logged(id)).toMatchObject([{ connector: "hubspot", action: "test", outcome: "forbidden", statusCode: 403, latencyMs: 7 }]);
    expect((await actions(id)).slice(1)).toEqual(["integration.tested"]);
  });

  test("I15: repeated with its idempotency key calls the provider once", async () => {
    const id = await connected();
    const options = { idempotencyKey: `test-${id}` };
    const before = opened.network.requests.length;
    const results = [await opened.integrations.test(id, "hubspot", options), await opened.integrations.test(id, "hubspot", options)];
    expect(results[0]).toEqual(results[1]);
    expect(opened.network.requests).toHaveLength(before + 1);
  });

  test("I15: of an integration that is unknown or disabled is refused", async () => {
    const id = await connected();
    await opened.integrations.connect(id, "hubspot", { enabled: false });
    expect(await codeOf(opened.integrations.test(id, "hubspot"))).toBe("integration_disconnected");
    expect(await codeOf(opened.integrations.test(id, "xero"))).toBe("not_found");
  });
});

describe("broken credentials", () => {
  test("I12: three refusals in a row end the calls and send one event, until the integration is connected again", async () => {
    const id = await connected();
    const { integrations, network } = opened;
    const responses: Scripted[] = [{ status: 401 }, { status: 401 }, { status: 200 }, { status: 401 }, { status: 401 }];
    for (network.next of responses) await integrations.test(id, "hubspot");
    expect(await integrations.get(id, "hubspot")).toMatchObject({ status: "connected", needsReauth: false, circuit: { refusals: 2 } });
    expect(await read(id)).toMatchObject({ outcome: "invalid_credentials" });
    expect(await integrations.get(id, "hubspot")).toMatchObject({
      status: "error",
      needsReauth: true,
      reauthReason: "invalid_credentials",
    });
    const sent = network.requests.length;
    expect(await codeOf(read(id))).toBe("integration_needs_reauth");
    expect(await codeOf(integrations.test(id, "hubspot"))).toBe("integration_needs_reauth");
    expect(network.requests).toHaveLength(sent);
    const events = (await opened.dump("outbox")).filter((entry) => entry.tenantId === id).map(({ value }) => value as JsonObject);
    expect(events.filter(({ type }) => type === "integration.needs_reauth")).toMatchObject([
      {
        subject: `integration:${id}:hubspot`,
        data: { reason: "invalid_credentials", integration: { status: "error", credentials: "[redacted]" } },
      },
    ]);
    network.next = { status: 200 };
    expect(await integrations.connect(id, "hubspot", HUBSPOT)).toMatchObject({ status: "connected", needsReauth: false });
    expect(await read(id)).toMatchObject({ outcome: "ok", value: { accessToken: TOKEN } });
  });

  test("I12: one response that says revoked is enough", async () => {
    const id = await connected();
    opened.network.next = { status: 401, headers: { "www-authenticate": 'Bearer error_description="token revoked"' } };
    await opened.integrations.test(id, "hubspot");
    expect(await opened.integrations.get(id, "hubspot")).toMatchObject({
      needsReauth: true,
      reauthReason: "revoked",
      lastTest: { outcome: "invalid_credentials" },
    });
    expect((await actions(id)).slice(1)).toEqual(["integration.tested", "integration.needs_reauth"]);
  });

  test("I12: a late refusal of credentials that were replaced meanwhile is not held against the new ones", async () => {
    const id = await connected();
    const { integrations, network } = opened;
    network.next = { status: 401, headers: { "www-authenticate": 'Bearer error_description="token revoked"' } };
    opened.clock.advance(1_000);
    network.during = async () => {
      network.during = () => Promise.resolve();
      await integrations.connect(id, "hubspot", { credentials: { accessToken: "the-next-token" } });
    };
    expect(await read(id)).toMatchObject({ outcome: "invalid_credentials" });
    expect(await integrations.get(id, "hubspot")).toMatchObject({ status: "connected", needsReauth: false, circuit: { refusals: 0 } });
    opened.clock.advance(1_000);
    network.during = async () => {
      network.during = () => Promise.resolve();
      await integrations.disconnect(id, "hubspot");
    };
    expect(await integrations.test(id, "hubspot")).toMatchObject({ outcome: "invalid_credentials" });
    expect(await integrations.get(id, "hubspot")).toMatchObject({ status: "disconnected", needsReauth: false, credentialFields: [] });
  });
});

describe("the circuit breaker", () => {
  test("I16: after five failures refuses calls for 60 s without calling, lets one probe through, and closes when it succeeds", async () => {
    const [id, other] = [await connected(), await connected()];
    const { integrations, network, clock } = opened;
    network.next = "timeout";
    for (let i = 0; i < 5; i++) expect(await read(id)).toMatchObject({ outcome: "timeout" });
    expect(await integrations.get(id, "hubspot")).toMatchObject({
      circuit: { state: "open", failures: 5, openedAt: clock.iso(), nextProbeAt: clock.iso(60_000) },
    });
    const sent = network.requests.length;
    clock.advance(30_500);
    await expect(read(id)).rejects.toMatchObject({ code: "circuit_open", status: 503, details: { retryAfterSeconds: 30 } });
    expect(network.requests).toHaveLength(sent);
    expect(await read(other)).toMatchObject({ outcome: "timeout" });

    clock.advance(30_000);
    expect(await read(id)).toMatchObject({ outcome: "timeout" });
    expect(await integrations.get(id, "hubspot")).toMatchObject({
      circuit: { state: "open", failures: 6, nextProbeAt: clock.iso(60_000) },
    });
    network.next = { status: 200 };
    clock.advance(60_000);
    expect(await read(id)).toMatchObject({ outcome: "ok" });
    expect(await integrations.get(id, "hubspot")).toMatchObject({ circuit: { state: "closed", failures: 0 } });
    expect((await actions(id)).slice(1)).toEqual(["integration.circuit_opened", "integration.circuit_closed"]);
  });

  test("I16: a test is a probe that nobody has to wait for", async () => {
    const id = await connected();
    opened.network.next = { status: 503 };
    for (let i = 0; i < 5; i++) await read(id);
    expect(await codeOf(read(id))).toBe("circuit_open");
    opened.network.next = { status: 200 };
    expect(await opened.integrations.test(id, "hubspot")).toMatchObject({ outcome: "ok" });
    expect(await read(id)).toMatchObject({ outcome: "ok" });
  });

  test("I16: of calls of several processes at the same time, one becomes the probe, in 10 rounds", async () => {
    const id = await connected();
    const services = (await opened.racers(4)).map((store) => opened.over(store).IntegrationService);
    const { network, clock } = opened;
    network.next = "connect_failed";
    await Promise.all(Array.from({ length: 8 }, (_, i) => read(id, services[i % 4])));
    expect(await opened.integrations.get(id, "hubspot")).toMatchObject({ circuit: { state: "open", failures: 8 } });
    expect(await logged(id)).toHaveLength(8);
    for (let round = 0; round < 10; round++) {
      clock.advance(60_000);
      const sent = network.requests.length;
      const codes = await Promise.all(Array.from({ length: 8 }, (_, i) => codeOf(read(id, services[i % 4]))));
      expect(network.requests.length - sent, `round ${round}: ${codes.join()}`).toBe(1);
      expect(codes.filter((code) => code === "circuit_open")).toHaveLength(7);
    }
    expect((await actions(id)).filter((name) => name.includes("circuit"))).toEqual(["integration.circuit_opened"]);
  });

  test("I13, I16: a call that throws is logged and counts as a failure, and its error reaches the caller", async () => {
    const id = await connected();
    const failing = opened.integrations.call(id, "hubspot", { action: "write" }, () => Promise.reject(new Error("no such contact")));
    await expect(failing).rejects.toThrow("no such contact");
    expect(await opened.integrations.get(id, "hubspot")).toMatchObject({ circuit: { failures: 1 } });
    expect(await logged(id)).toMatchObject([{ action: "write", outcome: "unexpected" }]);
  });

  test("T10: a tenant that is deleted during a call leaves nothing of it", async () => {
    const id = await connected();
    opened.network.during = () => opened.context.TenantService.delete(id);
    expect(await codeOf(read(id))).toBe("not_found");
    const left = (await opened.dump()).filter((entry) => entry.tenantId === id).map(({ key }) => key.split(":")[0]);
    expect(left.filter((family) => family !== "audit" && family !== "outbox")).toEqual([]);
  });
});
