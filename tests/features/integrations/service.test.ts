import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBackend, loadServices } from "../../../shared/container.ts";
import { knownRootKeys } from "../../../shared/core/root-keys.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { withClient } from "../../support/client.ts";
import { codeOf } from "../../support/store.ts";
import { userOf } from "../../support/test-context.ts";
import { HUBSPOT, openIntegrations, TOKEN } from "./support.ts";

let opened: Awaited<ReturnType<typeof openIntegrations>>;
beforeAll(async () => void (opened = await openIntegrations()));
afterAll(() => opened.close());

const DAY_MS = 24 * 3_600_000;
const tenantId = async () => (await opened.tenant()).id;
const actions = async (id: string) =>
  (await opened.auditOf(id)).map(({ action }) => String(action)).filter((name) => name.startsWith("integration."));
const eventsOf = async (id: string) =>
  (await opened.dump("outbox")).filter((entry) => entry.tenantId === id).map(({ value }) => value as JsonObject)
    .filter(({ type }) => String(type).startsWith("integration."));

/** Every row of every table, as text. */
async function everything(): Promise<string> {
  return await withClient(opened.database.superUrl, async (client) => {
    const { rows: tables } = await client.query<{ name: string }>(
      "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
    );
    const texts: string[] = [];
    for (const { name } of tables) {
      texts.push(...(await client.query<{ row: string }>(`select t::text as row from ${name} t`)).rows.map(({ row }) => row));
    }
    return texts.join("\n");
  });
}

describe("connecting", () => {
  test("I01: makes a record that shows the names and last characters of its credentials, and is listed, read and filtered", async () => {
    const id = await tenantId();
    const made = await opened.integrations.connect(id, "stripe", {
      config: { accountId: "acct_1" },
      credentials: { secretKey: "sk_test_abcd1234" },
    });
    expect(made).toMatchObject({
      id: `integration:${id}:stripe`,
      type: "payment_gateway",
      status: "connected",
      config: { accountId: "acct_1" },
      credentialFields: [{ name: "secretKey", last4: "1234" }],
      connectedAt: opened.clock.iso(),
      circuit: { state: "closed", failures: 0 },
    });
    expect(made).not.toHaveProperty("credentials");
    await opened.integrations.connect(id, "hubspot", HUBSPOT);
    const { data } = await opened.integrations.list(id);
    expect(data.map(({ provider }) => provider)).toEqual(["hubspot", "stripe"]);
    for (const each of data) expect(each).not.toHaveProperty("credentials");
    expect((await opened.integrations.list(id, { type: "crm" })).data.map(({ provider }) => provider)).toEqual(["hubspot"]);
    expect(await opened.integrations.get(id, "stripe")).toEqual(data[1]);
    expect(await opened.integrations.get(id, made.id)).toEqual(data[1]);
    expect(await opened.integrations.get(id, "xero")).toBeNull();
  });

  test("I01: twice with the same config and credentials changes nothing, in whatever order their members are", async () => {
    const id = await tenantId();
    const credentials = { clientId: "client-id-1", clientSecret: "client-secret-1" };
    const first = await opened.integrations.connect(id, "paypal", { credentials });
    const reordered = { clientSecret: credentials.clientSecret, clientId: credentials.clientId };
    opened.clock.advance(1_000);
    expect(await opened.integrations.connect(id, "paypal", { config: { environment: "live" }, credentials: reordered })).toEqual(first);
    expect(await opened.integrations.connect(id, "paypal", {})).toEqual(first);
    expect(await actions(id)).toEqual(["integration.connected"]);
    const changed = await opened.integrations.connect(id, "paypal", { config: { environment: "sandbox" } });
    expect(changed).toMatchObject({ config: { environment: "sandbox" }, credentialsSetAt: first.credentialsSetAt });
    const renewed = await opened.integrations.connect(id, "paypal", { credentials: { ...credentials, clientSecret: "client-secret-2" } });
    expect(renewed).toMatchObject({ connectedAt: first.connectedAt, credentialsSetAt: opened.clock.iso() });
    expect(await actions(id)).toEqual(["integration.connected", "integration.updated", "integration.updated"]);
    expect((await eventsOf(id)).map(({ type }) => type)).toEqual(await actions(id));
  });

  test("I01: at the same time from several processes makes one record with one of the credentials", async () => {
    const id = await tenantId();
    const services = (await opened.racers(4)).map((store) => opened.over(store).IntegrationService);
    const given = services.map((_, i) => ({ accessToken: `racing-token-${i}` }));
    const made = await Promise.all(services.map((service, i) => service.connect(id, "hubspot", { credentials: given[i] ?? {} })));
    expect(made).toHaveLength(4);
    expect((await opened.integrations.list(id)).data).toHaveLength(1);
    expect(given).toContainEqual(await opened.integrations.credentials(id, "hubspot"));
    expect((await actions(id)).filter((name) => name !== "integration.credentials_read")).toHaveLength(4);
  });

  test("I02: refuses an unknown provider, members against its schema, and an unknown tenant, and writes nothing", async () => {
    const id = await tenantId();
    const { integrations } = opened;
    expect(await codeOf(integrations.connect(id, "fax", HUBSPOT))).toBe("unknown_provider");
    await expect(integrations.connect(id, "hubspot", { config: { x: 1 }, credentials: { accessToken: "short" } })).rejects.toMatchObject({
      code: "validation_failed",
      fields: [{ path: "/config/x" }, { path: "/credentials/accessToken", message: "must be at least 8 characters" }],
    });
    await expect(integrations.connect(id, "hubspot", {})).rejects.toMatchObject({ fields: [{ path: "/credentials" }] });
    await expect(integrations.connect(id, "hubspot", { ...HUBSPOT, credentialsExpireAt: opened.clock.iso(-1) })).rejects.toMatchObject({
      fields: [{ path: "/credentialsExpireAt" }],
    });
    expect(await codeOf(integrations.connect("tn_none", "hubspot", HUBSPOT))).toBe("not_found");
    expect((await integrations.list(id)).data).toEqual([]);
  });

  test("I01: a tenant's own user connects and reads those of its tenant alone", async () => {
    const [own, other] = [await tenantId(), await tenantId()];
    const mine = opened.over(opened.store, userOf(own)).IntegrationService;
    await mine.connect(own, "hubspot", HUBSPOT);
    await opened.integrations.connect(other, "hubspot", HUBSPOT);
    expect((await mine.list(own)).data).toHaveLength(1);
    expect(await mine.get(other, "hubspot")).toBeNull();
    expect(await codeOf(mine.credentials(other, "hubspot"))).toBe("not_found");
    expect(await codeOf(mine.connect(other, "hubspot", { credentials: { accessToken: "taken-over" } }))).not.toMatch(/^no error/);
    expect(await mine.disconnect(other, "hubspot")).toBe(false);
    expect(await opened.integrations.credentials(other, "hubspot")).toEqual({ accessToken: TOKEN });
  });
});

describe("credentials", () => {
  test("I04, I05, I08: are nowhere in the database in the clear; a disconnection shreds them, and keeps the history", async () => {
    const id = await tenantId();
    const planted = "planted-ZmFrZS1zZWNyZXQ-0042";
    const options = { idempotencyKey: "connect-1" };
    const { integrations } = opened;
    await integrations.connect(id, "hubspot", { credentials: { accessToken: planted } }, options);
    await integrations.connect(id, "hubspot", { credentials: { accessToken: planted } }, options);
    await integrations.updateSyncStatus(id, "hubspot", "failed", `401 Unauthorized: Bearer ${planted}`);
    expect(await integrations.credentials(id, "hubspot")).toEqual({ accessToken: planted });
    opened.network.next = { status: 401, body: planted };
    await integrations.test(id, "hubspot");
    const stored = (await opened.store.get(`integration:${id}:hubspot`))?.value as {
      credentials: { ciphertext: string; wrappedKey: string };
    };
    const before = await everything();
    expect(before).toContain(stored.credentials.ciphertext);
    expect(before).not.toContain(planted.slice(8, 24));
    expect(await integrations.get(id, "hubspot")).toMatchObject({ lastSyncError: "401 Unauthorized: Bearer [redacted]" });

    expect(await integrations.disconnect(id, "hubspot")).toBe(true);
    const after = await everything();
    for (const part of [stored.credentials.ciphertext, stored.credentials.wrappedKey]) expect(after).not.toContain(part);
    expect(await integrations.get(id, "hubspot")).toMatchObject({
      status: "disconnected",
      disconnectedAt: opened.clock.iso(),
      credentialFields: [],
      lastSyncStatus: "failed",
      syncHistory: [{ status: "failed" }],
    });
    expect(await integrations.disconnect(id, "hubspot")).toBe(true);
    expect(await integrations.disconnect(id, "xero")).toBe(false);
    const sent = (await eventsOf(id)).filter(({ type }) => type === "integration.disconnected");
    expect(sent).toMatchObject([{ subject: `integration:${id}:hubspot`, data: { integration: { status: "disconnected" } } }]);
  });

  test("I08: cannot be guessed from what an idempotency key keeps, which is another hash under another key", async () => {
    const id = await tenantId();
    const hashes = async () =>
      (await opened.dump("idem")).map(({ value }) => (value as JsonObject)["requestHash"]).filter((hash) => hash !== undefined);
    const before = new Set(await hashes());
    for (const idempotencyKey of ["guess-1", "guess-2"]) await opened.integrations.connect(id, "hubspot", HUBSPOT, { idempotencyKey });
    expect(new Set((await hashes()).filter((hash) => !before.has(hash))).size).toBe(2);
    const other = opened.integrations.connect(id, "hubspot", { credentials: { accessToken: "another-token" } }, {
      idempotencyKey: "guess-1",
    });
    expect(await codeOf(other)).toBe("idempotency_mismatch");
  });

  test("I05: an integration that was disconnected needs new ones, and makes no calls until then", async () => {
    const id = await tenantId();
    const { integrations } = opened;
    await integrations.connect(id, "hubspot", { ...HUBSPOT, credentialsExpireAt: opened.clock.iso(30 * DAY_MS) });
    await integrations.disconnect(id, "hubspot");
    await expect(integrations.connect(id, "hubspot", {})).rejects.toMatchObject({ fields: [{ path: "/credentials" }] });
    const calls = opened.network.requests.length;
    for (
      const refused of [
        integrations.credentials(id, "hubspot"),
        integrations.test(id, "hubspot"),
        integrations.updateSyncStatus(id, "hubspot", "success"),
        integrations.call(id, "hubspot", { action: "read" }, () => Promise.resolve({ outcome: "ok", value: 1 })),
      ]
    ) expect(await codeOf(refused)).toBe("integration_disconnected");
    expect(opened.network.requests).toHaveLength(calls);
    const again = await integrations.connect(id, "hubspot", HUBSPOT);
    expect(again).toMatchObject({ status: "connected", connectedAt: opened.clock.iso() });
    for (const field of ["disconnectedAt", "credentialsExpireAt", "nextCheckAt"]) expect(again).not.toHaveProperty(field);
    expect((await actions(id)).slice(-1)).toEqual(["integration.connected"]);
  });

  test("I04: each read of them by the program is audited, with its caller and without their values", async () => {
    const id = await tenantId();
    await opened.integrations.connect(id, "hubspot", HUBSPOT);
    expect(await opened.integrations.credentials(id, "hubspot")).toEqual({ accessToken: TOKEN });
    const [entry] = (await opened.auditOf(id)).slice(-1);
    expect(entry).toMatchObject({
      action: "integration.credentials_read",
      resourceId: `integration:${id}:hubspot`,
      actor: { id: "admin-1" },
    });
    expect(JSON.stringify(await opened.auditOf(id))).not.toContain(TOKEN);
    expect((await eventsOf(id)).map(({ type }) => type)).toEqual(["integration.connected"]);
    expect(JSON.stringify(await eventsOf(id))).toContain('"credentials":"[redacted]"');
  });

  test("I06: copied to another tenant or provider are not decrypted, and can be replaced", async () => {
    const [from, to] = [await tenantId(), await tenantId()];
    const { integrations, store } = opened;
    for (const id of [from, to]) await integrations.connect(id, "hubspot", HUBSPOT);
    const stolen = ((await store.get(`integration:${from}:hubspot`))?.value as JsonObject)["credentials"];
    const key = `integration:${to}:hubspot`;
    await store.set(key, { ...(await store.get(key))?.value as JsonObject, credentials: stolen ?? null }, { tenantId: to });
    expect(await codeOf(integrations.credentials(to, "hubspot"))).toBe("decryption_failed");
    expect(await codeOf(integrations.test(to, "hubspot"))).toBe("decryption_failed");
    await integrations.connect(to, "hubspot", { credentials: { accessToken: "another-token" } });
    expect(await integrations.credentials(to, "hubspot")).toEqual({ accessToken: "another-token" });
  });

  test("I08: are not decrypted by a program with another root key", async () => {
    const id = await tenantId();
    await opened.integrations.connect(id, "hubspot", HUBSPOT);
    const rootKeys = knownRootKeys(new Uint8Array(32).fill(9));
    const backend = createBackend({ store: opened.store, clock: opened.clock, logger: silentLogger, rootKeys });
    const { IntegrationService } = (await loadServices())(backend.bind(systemContext(opened.clock)));
    expect(await codeOf(IntegrationService.credentials(id, "hubspot"))).toBe("root_key_unavailable");
    expect(await IntegrationService.get(id, "hubspot")).toMatchObject({ credentialFields: [{ name: "accessToken", last4: "cdef" }] });
  });

  test("AK10: that expire are announced by the job 14, 7 and 1 days before, once each, and then need new ones", async () => {
    const id = await tenantId();
    const { integrations, clock, context } = opened;
    await integrations.connect(id, "hubspot", { ...HUBSPOT, credentialsExpireAt: clock.iso(20 * DAY_MS) });
    for (let day = 0; day < 22; day++) {
      for (let i = 0; i < 2; i++) await context.as().JobService.run("integrations");
      clock.advance(DAY_MS);
    }
    const sent = (await eventsOf(id)).map((
      { type, data },
    ) => [type, (data as JsonObject)["daysLeft"] ?? (data as JsonObject)["reason"] ?? null]);
    expect(sent).toEqual([
      ["integration.connected", null],
      ["integration.credentials_expiring", 14],
      ["integration.credentials_expiring", 7],
      ["integration.credentials_expiring", 1],
      ["integration.needs_reauth", "expired"],
    ]);
    expect(await integrations.get(id, "hubspot")).toMatchObject({ status: "error", needsReauth: true, reauthReason: "expired" });
    expect((await context.as().JobService.list()).find(({ name }) => name === "integrations")?.backlog).toMatchObject({ count: 0 });
    // The same credentials with a later expiry connect it again.
    const again = await integrations.connect(id, "hubspot", { ...HUBSPOT, credentialsExpireAt: clock.iso(10 * DAY_MS) });
    expect(again).toMatchObject({ status: "connected", needsReauth: false, reminded: [14], nextCheckAt: clock.iso(3 * DAY_MS) });
    expect(again).not.toHaveProperty("reauthReason");
  });
});

describe("synchronisations", () => {
  test("I03: a report sets status, error and time, and invalid ones are refused", async () => {
    const id = await tenantId();
    const { integrations, clock } = opened;
    await integrations.connect(id, "hubspot", HUBSPOT);
    expect(await integrations.updateSyncStatus(id, "hubspot", "failed", "timeout")).toMatchObject({
      consecutiveFailures: 1,
      lastSyncError: "timeout",
    });
    expect(await integrations.updateSyncStatus(id, "hubspot", "success")).toMatchObject({
      consecutiveFailures: 0,
      lastSyncAt: clock.iso(),
    });
    expect(await integrations.updateSyncStatus(id, "xero", "success")).toBeNull();
    expect(await codeOf(integrations.updateSyncStatus(id, "hubspot", "done" as "success"))).toBe("validation_failed");
    expect(await codeOf(integrations.updateSyncStatus(id, "hubspot", "failed", "x".repeat(2_001)))).toBe("validation_failed");
    expect((await actions(id)).slice(1)).toEqual(["integration.synced", "integration.synced"]);
  });
});
