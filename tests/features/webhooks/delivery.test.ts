import { Webhook as StandardWebhook } from "standardwebhooks";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Received, Receiver } from "../../support/receiver.ts";
import { startReceiver } from "../../support/receiver.ts";
import { type DeliveryContext, openDelivery } from "./delivery-support.ts";

let context: DeliveryContext;
beforeAll(async () => void (context = await openDelivery()));
afterAll(() => context.close());

let receivers: Receiver[] = [];
async function receiver(): Promise<Receiver> {
  const started = await startReceiver();
  receivers.push(started);
  return started;
}
/** Every test begins without webhooks and without events that wait. */
beforeEach(async () => {
  // The official package compares the time of a request with the system clock.
  context.clock.set(new Date().toISOString());
  await context.store.commit([], ["webhook", "delivery", "outbox"].map((prefix) => ({ op: "deletePrefix", prefix })));
});
afterEach(async () => {
  await Promise.all(receivers.map((each) => each.close()));
  receivers = [];
});

const typesOf = (received: readonly Received[]) => received.map(({ text }) => (JSON.parse(text) as { readonly type: string }).type);
const bodyOf = ({ text }: Received) => JSON.parse(text) as Readonly<Record<string, unknown>>;
/** Moves the clock to the next attempt of the delivery, and runs the job. */
async function toNextAttempt({ clock, deliver, deliveriesOf }: DeliveryContext, webhookId: string): Promise<void> {
  const [at = ""] = (await deliveriesOf(webhookId)).map(({ nextRetryAt }) => nextRetryAt ?? "").filter((each) => each !== "").sort();
  if (at === "") throw new Error("no delivery waits");
  clock.set(at > clock.iso() ? at : clock.iso(1));
  await deliver();
}

describe("a delivery", () => {
  test("W02, W16: a committed change arrives once, signed, at the platform's and the tenant's own webhook, and nowhere else", async () => {
    const [platform, own, other] = [await receiver(), await receiver(), await receiver()];
    const { id } = await context.tenant();
    const { id: neighbour } = await context.tenant();
    await context.deliver();
    const { secret } = await context.endpoint(`${platform.url}/hooks?from=innkeep`);
    await context.endpoint(own.url, { tenantId: id, events: ["tenant.*"] });
    await context.endpoint(other.url, { tenantId: neighbour });
    await context.TenantService.suspend(id, "Payment overdue");
    const report = await context.deliver();
    expect(report).toMatchObject({ processed: 2, complete: true, remaining: 0, report: { events: 1, succeeded: 2, failed: 0 } });
    const [got, ...more] = platform.received;
    expect(more).toEqual([]);
    expect(typesOf(own.received)).toEqual(["tenant.suspended"]);
    expect(other.received).toEqual([]);
    expect(got).toMatchObject({ method: "POST", path: "/hooks?from=innkeep", headers: { "content-type": "application/json" } });
    const payload = new StandardWebhook(secret).verify(got?.text ?? "", { ...got?.headers });
    expect(payload).toMatchObject({ type: "tenant.suspended", tenantId: id, subject: id, data: { tenant: { id, status: "suspended" } } });
    expect(payload).toMatchObject({ id: got?.headers["webhook-id"], version: String((await context.TenantService.get(id))?.version) });
    await context.deliver();
    expect(platform.received).toHaveLength(1);
  });

  test("W16: a change that was refused sends nothing", async () => {
    const at = await receiver();
    const { subdomain } = await context.tenant();
    await context.deliver();
    await context.endpoint(at.url);
    await expect(context.tenant({ subdomain })).rejects.toMatchObject({ code: "subdomain_taken" });
    expect((await context.deliver()).report).toEqual({ events: 0, succeeded: 0, failed: 0, inFlight: 0 });
    expect(at.received).toEqual([]);
  });

  test("W03, W05: it is repeated with one id, a new timestamp and a new signature, after 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h", async () => {
    const at = await receiver();
    at.script(500);
    const { id, secret } = await context.endpoint(at.url, { events: ["tenant.created"] });
    await context.tenant();
    await context.deliver();
    const times = [context.clock.now()];
    for (let attempt = 2; attempt <= 10; attempt++) {
      await toNextAttempt(context, id);
      times.push(context.clock.now());
    }
    const delays = times.slice(1).map((time, i) => (time - (times[i] ?? 0)) / 1_000);
    for (const [i, seconds] of [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].entries()) {
      expect(Math.abs((delays[i] ?? 0) / seconds - 1), `${delays[i]} s instead of ${seconds} s`).toBeLessThanOrEqual(0.1001);
    }
    expect(new Set(delays.map((delay, i) => delay / ([5, 300][i] ?? 1))).size).toBeGreaterThan(2);
    const sent = at.received;
    expect(sent).toHaveLength(10);
    expect(new Set(sent.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    expect(sent.map(({ headers }) => Number(headers["webhook-timestamp"]))).toEqual(times.map((time) => Math.floor(time / 1_000)));
    expect(new Set(sent.map(({ headers }) => headers["webhook-signature"])).size).toBe(10);
    expect(() => new StandardWebhook(secret).verify(sent[0]?.text ?? "", { ...sent[0]?.headers })).not.toThrow();
    const [delivery] = await context.deliveriesOf(id);
    expect(delivery).toMatchObject({ status: "failed", attemptCount: 10, nextRetryAt: null });
    expect(delivery?.attempts.map(({ attempt, statusCode }) => [attempt, statusCode])).toEqual(times.map((_, i) => [i + 1, 500]));
    expect(await context.eventsAbout(id)).toMatchObject([{ type: "webhook.delivery_exhausted" }]);
    expect((await context.webhookOf(id)).dueAt).toBeNull();
  });

  test("W06: a redirect is a failure and is not followed, and Retry-After is honoured", async () => {
    const [at, elsewhere] = [await receiver(), await receiver()];
    at.script({ status: 307, headers: { location: elsewhere.url } }, { status: 429, headers: { "retry-after": "900" } }, 204);
    const { id } = await context.endpoint(at.url, { events: ["tenant.created"] });
    await context.tenant();
    await context.deliver();
    expect(await context.deliveriesOf(id)).toMatchObject([{
      status: "pending",
      attempts: [{ statusCode: 307, error: "The receiver responded with status 307. Redirects are not followed." }],
    }]);
    await toNextAttempt(context, id);
    const refusedAt = context.clock.now();
    context.clock.advance(899_000);
    await context.deliver();
    expect(at.received).toHaveLength(2);
    context.clock.set(new Date(refusedAt + 900_000).toISOString());
    await context.deliver();
    expect(await context.deliveriesOf(id)).toMatchObject([{ status: "success", attemptCount: 3 }]);
    expect(elsewhere.received).toEqual([]);
  });

  test("W06, W20: a 410 disables the endpoint at once, fails what waits for it, is audited, and announced to the others and to administrators", async () => {
    const [gone, other] = [await receiver(), await receiver()];
    gone.script(410);
    const { id } = await context.endpoint(gone.url, { maxConcurrency: 1 });
    await context.endpoint(other.url, { events: ["webhook.*"] });
    for (let n = 0; n < 4; n++) await context.tenant();
    await context.deliver();
    expect(gone.received).toHaveLength(1);
    expect(await context.webhookOf(id)).toMatchObject({ enabled: false, status: "disabled", disabledReason: "gone", dueAt: null });
    expect((await context.deliveriesOf(id)).map(({ status, nextRetryAt }) => [status, nextRetryAt])).toEqual(
      Array(4).fill(["failed", null]),
    );
    await context.deliver();
    expect(typesOf(other.received)).toEqual(["webhook.disabled"]);
    expect(other.received.map(bodyOf)).toMatchObject([{ subject: id, data: { webhook: { id }, reason: "gone" } }]);
    expect(other.received[0]?.text).not.toMatch(/sealedSecret":\{|whsec_/);
    expect((await context.auditOf(null)).at(-1)).toMatchObject({ action: "webhook.disabled", resourceId: id, data: { reason: "gone" } });
    const { data: told } = await context.NotificationService.list();
    expect(told).toMatchObject([{ title: "A webhook was disabled", audience: "admins", category: "integrations", priority: "high" }]);
    await context.tenant();
    await context.deliver();
    expect(gone.received).toHaveLength(1);
  });

  test("W12, W20: an endpoint that fails for 5 days is disabled, and one that works again in time is announced", async () => {
    const [dead, back, watch] = [await receiver(), await receiver(), await receiver()];
    dead.script(500);
    back.script(...Array<number>(8).fill(500), 200);
    const [{ id: deadId }, { id: backId }] = [
      await context.endpoint(dead.url, { events: ["tenant.created"] }),
      await context.endpoint(back.url, { events: ["tenant.created"] }),
    ];
    await context.endpoint(watch.url, { events: ["webhook.*"] });
    const started = context.clock.now();
    for (let hours = 0; hours <= 120; hours += 12) {
      context.clock.set(new Date(started + hours * 3_600_000).toISOString());
      await context.tenant();
      await context.deliver();
      if (hours < 120) expect(await context.webhookOf(deadId), `after ${hours} h`).toMatchObject({ enabled: true, status: "active" });
    }
    expect(await context.webhookOf(deadId)).toMatchObject({ enabled: false, status: "failed", disabledReason: "failing" });
    expect(await context.webhookOf(backId)).toMatchObject({ enabled: true, status: "active", failureCount: 0, failingSince: null });
    await context.deliver();
    expect((await context.deliveriesOf(deadId)).filter(({ status }) => status === "pending")).toEqual([]);
    const seen = watch.received.map(bodyOf).map(({ type, subject }) => [type, subject]);
    expect(seen).toContainEqual(["webhook.disabled", deadId]);
    expect(seen).toContainEqual(["webhook.recovered", backId]);
    expect(seen.filter(([type]) => type !== "webhook.delivery_exhausted")).toHaveLength(2);
  });

  test("W18: a thin endpoint gets the event without its record", async () => {
    const at = await receiver();
    await context.endpoint(at.url, { payload: "thin", events: ["tenant.created"] });
    const { id, version } = await context.tenant();
    await context.deliver();
    expect(at.received.map(bodyOf)).toMatchObject([{ type: "tenant.created", subject: id, version, data: {} }]);
  });

  test("W16: the last events of a deleted tenant get their numbers and arrive at the platform's webhook", async () => {
    const [platform, own] = [await receiver(), await receiver()];
    const { id } = await context.tenant();
    await context.deliver();
    await context.endpoint(platform.url);
    await context.endpoint(own.url, { tenantId: id });
    await context.TenantService.update(id, { name: "Hotel Aurora" });
    await context.TenantService.delete(id);
    await context.deliver();
    expect(typesOf(platform.received)).toEqual(["tenant.updated", "tenant.deleted"]);
    expect(own.received).toEqual([]);
    const [first = 0, second = 0] = platform.received.map(bodyOf).map(({ seq }) => Number(seq));
    expect(second).toBe(first + 1);
  });
});
