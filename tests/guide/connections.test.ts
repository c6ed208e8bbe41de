import { afterAll, expect, test } from "vitest";
import { HUBSPOT, openIntegrations, TOKEN } from "../features/integrations/support.ts";
import { codeOf } from "../support/store.ts";

const app = await openIntegrations();
const { ApiKeyService, ConnectorEventService, EventService, IntegrationService, WebhookService } = app.over(app.store);
afterAll(() => app.close());

test("H29: credentials are written once, shown by their last characters, and read only by the server", async () => {
  const { id: tenantId } = await app.tenant();
  const connected = await IntegrationService.connect(tenantId, "hubspot", { credentials: { accessToken: TOKEN } });
  const shown = await IntegrationService.get(tenantId, "hubspot");
  const credentials = await IntegrationService.credentials(tenantId, "hubspot");
  expect(JSON.stringify([connected, shown])).not.toContain(TOKEN);
  expect(credentials).toEqual({ accessToken: TOKEN });
  const { created } = await IntegrationService.put(tenantId, "hubspot", HUBSPOT);
  const synced = await IntegrationService.updateSyncStatus(tenantId, "hubspot", "success");
  const tested = await IntegrationService.test(tenantId, "hubspot");
  const called = await IntegrationService.call(
    tenantId,
    "hubspot",
    { action: "read_contacts", target: "contacts" },
    async ({ send }) => {
      const { response: _, ...result } = await send({ method: "GET", url: "https://api.hubapi.com/crm/v3/objects/contacts", headers: {} });
      return { ...result, value: "read" };
    },
  );
  expect([created, synced?.lastSyncStatus, tested.outcome]).toEqual([false, "success", "ok"]);
  expect(called).toMatchObject({ outcome: "ok", value: "read" });
  await ConnectorEventService.log(tenantId, "hubspot", "export_contacts", { outcome: "ok", latencyMs: 120 });
  await ConnectorEventService.logSlackMessage(tenantId, "#front-desk", "Room 12 is ready.", "user-1");
  const calls = await ConnectorEventService.list(tenantId);
  const call = await ConnectorEventService.get(tenantId, calls.data[0]?.id ?? "");
  expect(call).toEqual(calls.data[0]);
  const integrations = await IntegrationService.list(tenantId);
  const providers = IntegrationService.providers();
  expect(integrations.data.map(({ provider }) => provider)).toEqual(["hubspot"]);
  expect(providers.length).toBeGreaterThan(10);
  const disconnected = await IntegrationService.disconnect(tenantId, "hubspot");
  expect(disconnected).toBe(true);
  expect(await codeOf(IntegrationService.credentials(tenantId, "hubspot"))).toBe("integration_disconnected");
});

test("H29: an API key shows its secret once, is rotated with an overlap, and ends with its revocation", async () => {
  const { id: tenantId } = await app.tenant();
  const key = await ApiKeyService.generate("Booking site", ["read:usage"], { tenantId });
  const verified = await ApiKeyService.verify(key.secret ?? "");
  const rotated = await ApiKeyService.rotate(key.id, { overlapSeconds: 3_600 });
  ApiKeyService.trackUsage(key.id, "203.0.113.7");
  await ApiKeyService.update(key.id, { name: "Booking site, 2026" });
  const shown = await ApiKeyService.get(key.id);
  const unused = await ApiKeyService.unused(90, tenantId);
  const revoked = await ApiKeyService.revoke(key.id, "The site was replaced.");
  const keys = await ApiKeyService.list(tenantId);
  expect(verified).toMatchObject({ valid: true, tenantId, scopes: ["read:usage"] });
  expect(rotated?.secret).not.toBe(key.secret);
  expect(shown).toMatchObject({ name: "Booking site, 2026" });
  expect(JSON.stringify([shown, keys])).not.toContain(rotated?.secret);
  expect([unused.data.length, revoked?.enabled, keys.data.length]).toEqual([0, false, 1]);
  expect(await ApiKeyService.verify(rotated?.secret ?? "")).toMatchObject({ valid: false });
});

test("H29: a webhook is signed with a secret of its own, and polling shows the same events", async () => {
  const { id: tenantId } = await app.tenant();
  const webhook = await WebhookService.create({ tenantId, url: "https://hooks.aurora.example/innkeep", events: ["tenant.*"] });
  expect(webhook.secret).toMatch(/^whsec_/);
  await WebhookService.update(webhook.id, { events: ["*"] });
  const rotated = await WebhookService.rotateSecret(webhook.id);
  const result = await WebhookService.test(webhook.id);
  const deliveries = await WebhookService.deliveries(webhook.id);
  const delivery = await WebhookService.delivery(webhook.id, deliveries?.data[0]?.id ?? "none");
  const again = await WebhookService.replay(webhook.id, deliveries?.data[0]?.id ?? "none").catch(() => null);
  const replay = await WebhookService.replaySince(webhook.id, { kind: "failed", since: "2026-03-01T00:00:00.000Z" });
  const replays = await WebhookService.replays(webhook.id);
  const found = await WebhookService.replayOf(webhook.id, replay?.id ?? "");
  const enabled = await WebhookService.enable(webhook.id);
  const shown = await WebhookService.get(webhook.id);
  const list = await WebhookService.list(tenantId);
  expect(rotated?.secret).not.toBe(webhook.secret);
  expect([result?.outcome, delivery, again]).toEqual(["success", null, null]);
  expect([replays?.data.length, found?.id, enabled?.status, list.data.length]).toEqual([1, replay?.id, "active", 1]);
  expect(JSON.stringify(shown)).not.toContain(rotated?.secret);
  const deleted = await WebhookService.delete(webhook.id);
  expect(deleted).toBe(true);

  const events = await EventService.list({ types: ["tenant.*"], limit: 10 });
  const types = EventService.types();
  expect(events.data).toEqual([]); // the job `webhooks` has numbered none yet
  expect(types.data.length).toBeGreaterThan(50);
});
