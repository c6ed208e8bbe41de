import { Webhook as StandardWebhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { type Received, startReceiver } from "../../support/receiver.ts";
import { openDelivery } from "./delivery-support.ts";

let context: Awaited<ReturnType<typeof openDelivery>>;
beforeAll(async () => {
  context = await openDelivery();
  // The official package compares the time of a request with the system clock.
  context.clock.set(new Date().toISOString());
});
afterAll(() => context.close());

const idsOf = (received: readonly Received[]) => received.map(({ headers }) => headers["webhook-id"] ?? "");
const isSigned = (secret: string, { text, headers }: Received) => {
  try {
    return Boolean(new StandardWebhook(secret).verify(text, { ...headers }));
  } catch {
    return false;
  }
};

test("W11, W12: an endpoint that was disabled gets what failed and what it missed, each event with its own id", async () => {
  const receiver = await startReceiver();
  const { id: tenantId } = await context.tenant();
  const since = context.clock.iso();
  const { id } = await context.endpoint(receiver.url, { tenantId, events: ["tenant.updated"] });
  const { WebhookService } = context.as();
  const rename = async (name: string) => {
    context.clock.advance(1);
    await context.TenantService.update(tenantId, { name });
    await context.deliver();
  };
  await rename("First");
  receiver.script(410);
  await rename("Second");
  receiver.script(200);
  for (const name of ["Third", "Fourth"]) await rename(name);
  expect(await WebhookService.get(id)).toMatchObject({ status: "disabled", enabled: false, disabledReason: "gone" });
  expect(receiver.received).toHaveLength(2);
  await expect(WebhookService.replaySince(id, { since, kind: "failed" })).rejects.toMatchObject({ code: "invalid_transition" });
  const enabled = await WebhookService.enable(id);
  expect(enabled).toMatchObject({ status: "active", gap: { failed: 1, missing: 2, isComplete: true } });
  for (const kind of ["failed", "missing", "missing"] as const) {
    await WebhookService.replaySince(id, { since: enabled?.gap?.since ?? "", kind });
  }
  await context.deliver();
  const names = receiver.received.map(({ text }) => (JSON.parse(text) as { data: { tenant: { name: string } } }).data.tenant.name);
  expect(names.toSorted()).toEqual(["First", "Fourth", "Second", "Second", "Third"]);
  const ids = idsOf(receiver.received);
  expect([new Set(ids).size, ids[1]]).toEqual([4, idsOf(receiver.received.filter((_, i) => i > 1 && names[i] === "Second"))[0]]);
  const replays = (await WebhookService.replays(id))?.data ?? [];
  expect(replays.map(({ kind, status, replayed }) => `${kind} ${status} ${replayed}`).toSorted()).toEqual([
    "failed completed 1",
    "missing completed 0",
    "missing completed 2",
  ]);
  await receiver.close();
});

test("W04, W12: deliveries that wait while their endpoint is switched off go on later, with both signatures after a rotation", async () => {
  const receiver = await startReceiver();
  const { id: tenantId } = await context.tenant();
  const { id, secret: first } = await context.endpoint(receiver.url, { tenantId, events: ["tenant.updated"] });
  const { WebhookService } = context.as();
  receiver.script(500, 200);
  await context.TenantService.update(tenantId, { name: "Renamed" });
  await context.deliver();
  await WebhookService.update(id, { enabled: false });
  context.clock.advance(10_000);
  await context.deliver();
  expect(receiver.received).toHaveLength(1);
  expect((await WebhookService.deliveries(id))?.data.map(({ status }) => status)).toEqual(["pending"]);
  const rotated = await WebhookService.rotateSecret(id, { overlapSeconds: 60 });
  await WebhookService.update(id, { enabled: true });
  await context.deliver();
  const [, second] = receiver.received;
  expect([rotated?.secret ?? "", first].map((secret) => second && isSigned(secret, second))).toEqual([true, true]);
  context.clock.advance(60_000);
  const { data: [sent] } = await WebhookService.deliveries(id) ?? { data: [] };
  expect(sent?.status).toBe("success");
  await WebhookService.replay(id, sent?.id ?? "");
  await context.deliver();
  const [, , third] = receiver.received;
  expect([rotated?.secret ?? "", first].map((secret) => third && isSigned(secret, third))).toEqual([true, false]);
  expect(new Set(idsOf(receiver.received)).size).toBe(1);
  await receiver.close();
});

test.each(["is damaged", "has a root key that is missing"])(
  "W04, W20: when the secret of a webhook %s for hours, its deliveries wait, and go on by themselves afterwards",
  async (what) => {
    const { store, clock } = context;
    await context.deliver();
    const receiver = await startReceiver();
    const events = ["tenant.created"];
    const [{ id }, other] = [
      await context.endpoint(receiver.url, { events, headerNames: ["x-a"] }),
      await context.endpoint(receiver.url, { events }),
    ];
    const { sealedSecret } = await context.webhookOf(id);
    const isDamaged = what === "is damaged";
    const unreadable = isDamaged ? (await context.webhookOf(other.id)).sealedSecret : { ...sealedSecret, keyId: "0".repeat(16) };
    const put = (value: typeof sealedSecret) =>
      store.increment(`webhook:${id}`, [{ path: ["failureCount"], by: 0 }], { merge: { sealedSecret: value } });
    const letters = async () => (await context.dump("dead")).filter(({ value }) => (value as JsonObject)["item"] === `webhook:${id}`);
    await put(unreadable);
    await context.tenant();
    for (let run = 0; run < 9; run++) {
      await expect(context.deliver()).rejects.toThrow(isDamaged ? "decryption_failed" : "root_key_unavailable");
      clock.advance(3_600_000);
    }
    expect(await letters()).toMatchObject([{ value: { status: "retrying", attempts: 0 } }]);
    expect(receiver.received).toHaveLength(1);
    if (isDamaged) {
      const rotated = await context.WebhookService.rotateSecret(id, { overlapSeconds: 60 });
      expect([rotated?.previousSecretExpiresAt, rotated?.headerNames]).toEqual([undefined, []]);
    } else await put(sealedSecret);
    clock.advance(60_000);
    await context.deliver();
    expect(receiver.received).toHaveLength(2);
    expect(await context.deliveriesOf(id)).toMatchObject([{ status: "success", attemptCount: 1 }]);
    expect(await context.webhookOf(id)).toMatchObject({ failureCount: 0, status: "active" });
    expect(await letters()).toEqual([]);
    await receiver.close();
  },
);

test("W01, W11: a caller that redirects a webhook gets no event that it must not read, neither what waits nor what it sends again", async () => {
  const [before, theirs] = [await startReceiver(), await startReceiver()];
  before.script(200, 500);
  const { id: tenantId } = await context.tenant();
  await context.deliver();
  context.clock.advance(1);
  const since = context.clock.iso();
  const { id } = await context.endpoint(before.url, { tenantId, events: ["api-key.*", "tenant.*"] });
  await context.ApiKeyService.generate("Sent", ["read:plans"], { tenantId });
  await context.deliver();
  await context.ApiKeyService.generate("Waits", ["read:plans"], { tenantId });
  await context.TenantService.update(tenantId, { name: "Waits" });
  await context.deliver();
  const sent = (await context.deliveriesOf(id)).find(({ status }) => status === "success");
  const current = await context.webhookOf(id);
  await context.store.set(`webhook:${id}`, { ...current, url: theirs.url, withheld: ["api-key.*"] } as JsonObject, { tenantId });
  const scopes = new Set(["read:webhooks", "write:webhooks", "read:events"]);
  const { WebhookService } = context.as({ tenantId, scopes });
  context.clock.advance(1);
  await WebhookService.replay(id, sent?.id ?? "");
  for (const kind of ["failed", "missing"] as const) await WebhookService.replaySince(id, { since, kind });
  await context.deliver();
  const types = theirs.received.map(({ text }) => (JSON.parse(text) as { type: string }).type);
  expect(types).toEqual(["tenant.updated"]);
  const keys = (await context.deliveriesOf(id)).filter(({ event }) => event === "api-key.created");
  expect(keys.map(({ status }) => status)).toEqual(["failed", "failed"]);
  expect(keys.map(({ attempts }) => attempts.at(-1)?.error)).toEqual(
    keys.map(() => expect.stringContaining("must not read events") as string),
  );
  await Promise.all([before.close(), theirs.close()]);
});
