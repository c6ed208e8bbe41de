import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { Collection } from "../../../shared/core/collection.ts";
import { webhook } from "../../../shared/features/webhooks/entity.ts";
import { newDelivery } from "../../../shared/features/webhooks/matching.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { withClient } from "../../support/client.ts";
import { seededRandom } from "../../support/random.ts";
import { type Receiver, startReceiver } from "../../support/receiver.ts";
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
beforeEach(async () => {
  await context.store.commit([], ["webhook", "delivery", "outbox"].map((prefix) => ({ op: "deletePrefix", prefix })));
});
afterEach(async () => {
  await Promise.all(receivers.map((each) => each.close()));
  receivers = [];
});

/** An event that has its number, and so many deliveries of it for the webhook. */
async function waiting(tenantId: string, webhookId: string, count: number): Promise<void> {
  const { store, clock } = context;
  const event = { type: "tenant.updated", tenantId, subject: tenantId, data: {}, createdAt: clock.iso(), seq: 1, recordVersion: "1" };
  for (let at = 0; at < count; at += 100) {
    const ids = Array.from({ length: Math.min(100, count - at) }, (_, i) => `evt_${clock.now()}_${String(at + i).padStart(12, "0")}`);
    await store.commit([], [
      ...ids.map((id) => ({ op: "set" as const, key: `outbox:${id}`, value: { ...event, id }, tenantId })),
      ...ids.map((id) => {
        const value = newDelivery({ id: webhookId, tenantId }, { id, type: event.type, seq: 1 }, clock.iso());
        return { op: "set" as const, key: `delivery:${webhookId}:${value.timestamp}:${value.nonce}`, value: value as JsonObject, tenantId };
      }),
    ]);
  }
  await store.increment(`webhook:${webhookId}`, [{ path: ["failureCount"], by: 0 }], { merge: { dueAt: clock.iso() } });
}
const statusesOf = async (webhookId: string) => {
  const counts: Record<string, number> = {};
  for (const { status } of await context.deliveriesOf(webhookId)) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
};

describe("an endpoint that hangs", () => {
  test("W13: with 1,000 deliveries of one tenant at receivers that hang, another tenant's event arrives in under 5 s", async () => {
    const [dead, alive] = [await receiver(), await receiver()];
    dead.script("hang");
    const [{ id: slow }, { id: quick }] = [await context.tenant(), await context.tenant()];
    await context.deliver();
    for (let n = 0; n < 10; n++) {
      const { id } = await context.endpoint(`${dead.url}/${n}`, { tenantId: slow, events: ["invoice.*"], maxConcurrency: 16 });
      await waiting(slow, id, 100);
    }
    await context.endpoint(alive.url, { tenantId: quick, events: ["tenant.updated"] });
    const run = context.deliver();
    await dead.waitFor(10);
    const changedAt = performance.now();
    await context.TenantService.update(quick, { name: "Hotel Aurora" });
    await alive.waitFor(1);
    expect(performance.now() - changedAt).toBeLessThan(5_000);
    // An endpoint that has not responded yet gets no second request.
    await sleep(300);
    expect(dead.received).toHaveLength(10);
    await dead.close();
    expect(await run).toMatchObject({ complete: true, processed: 11, report: { succeeded: 1, failed: 10 } });
    for (const { value } of await context.dump("webhook")) {
      const { tenantId, pausedUntil, failureCount } = value as JsonObject;
      expect([pausedUntil, failureCount]).toEqual(tenantId === slow ? [context.clock.iso(5_000), 1] : [undefined, 0]);
    }
    expect((await context.deliver()).processed).toBe(0);
  });

  test("W13: a paused endpoint is tried with one delivery, and gets the others as soon as it responds again", async () => {
    const at = await receiver();
    at.script("close", "close", 200);
    const { id: tenantId } = await context.tenant();
    await context.deliver();
    const { id } = await context.endpoint(at.url, { tenantId });
    await waiting(tenantId, id, 40);
    for (const [requests, pause] of [[1, 5_000], [2, 10_000]] as const) {
      await context.deliver();
      expect(at.received).toHaveLength(requests);
      context.clock.advance(pause - 1);
      await context.deliver();
      expect(at.received).toHaveLength(requests);
      context.clock.advance(1);
    }
    await context.deliver();
    context.clock.advance(400_000);
    await context.deliver();
    expect(await statusesOf(id)).toEqual({ success: 40 });
    expect(at.maxInFlight).toBeLessThanOrEqual(4);
  });
});

describe("a run", () => {
  test("W13: ends without a further request to a slow receiver, which would keep it from the events of others", async () => {
    const at = await receiver();
    at.script({ status: 200, delayMs: 2_100 });
    const { id: tenantId } = await context.tenant();
    await context.deliver();
    const { id } = await context.endpoint(at.url, { tenantId, events: ["invoice.*"] });
    await waiting(tenantId, id, 5);
    const run = context.deliver();
    await at.waitFor(1);
    context.clock.advance(31_000);
    await run;
    expect(await statusesOf(id)).toEqual({ success: 1, pending: 4 });
    at.script(200);
    await context.deliver();
    expect(await statusesOf(id)).toEqual({ success: 5 });
  });

  test("W13: that has used up its CPU time while a receiver hangs ends, and the next one sends another tenant's event in under 5 s", async () => {
    const [dead, fast, alive] = [await receiver(), await receiver(), await receiver()];
    dead.script("hang");
    const [{ id: busy }, { id: quick }] = [await context.tenant(), await context.tenant()];
    await context.deliver();
    const { id: hanging } = await context.endpoint(dead.url, { tenantId: busy, events: ["invoice.*"], maxConcurrency: 16 });
    for (let n = 0; n < 15; n++) {
      const { id } = await context.endpoint(`${fast.url}/${n}`, { tenantId: busy, events: ["invoice.*"], maxConcurrency: 16 });
      await waiting(busy, id, 70);
    }
    await context.endpoint(alive.url, { tenantId: quick, events: ["tenant.updated"] });
    const runs: Promise<unknown>[] = [context.deliver()];
    await fast.waitFor(600);
    await waiting(busy, hanging, 3);
    await dead.waitFor(1);
    // The run sends nothing more when its budget is used up.
    for (let sent = -1; sent < 700 || sent < fast.received.length; await sleep(300)) sent = fast.received.length;
    const changedAt = performance.now();
    await context.TenantService.update(quick, { name: "Hotel Aurora" });
    // As the scheduler does, also while another run is not over.
    const calls = setInterval(() => runs.push(context.deliver().catch((error: unknown) => error)), 300);
    await alive.waitFor(1);
    const tookMs = performance.now() - changedAt;
    const held = await context.webhookOf(hanging);
    await fast.waitFor(1_050).finally(() => clearInterval(calls));
    expect(tookMs).toBeLessThan(5_000);
    expect([held.failureCount, held.dueAt, held.pausedUntil]).toEqual([0, context.clock.iso(20_000), context.clock.iso(20_000)]);
    expect([dead.received.length, fast.received.length]).toEqual([1, 1_050]);
    await dead.close();
    const [first, ...others] = await Promise.all(runs);
    expect(first).toMatchObject({ complete: true, errors: [], report: { failed: 0, inFlight: 1 } });
    for (const other of others) if (other instanceof Error) expect(other).toMatchObject({ code: "job_running" });
    expect(await context.webhookOf(hanging)).toMatchObject({ failureCount: 1, pausedUntil: context.clock.iso(5_000) });
    expect(await statusesOf(hanging)).toEqual({ pending: 3 });
  });

  test("W13: does not read the failing endpoints again that it leaves to the next run", async () => {
    const at = await receiver();
    const { id: tenantId } = await context.tenant();
    await context.deliver();
    const { id } = await context.endpoint(at.url, { tenantId, events: ["invoice.*"] });
    await waiting(tenantId, id, 1);
    const webhooks = new Collection(webhook, context.store);
    const dueAt = (n: number) => context.clock.iso(n - 10_000);
    const failing = Array.from({ length: 150 }, (_, n) => ({ ...webhook.example, id: `webhook_1_${n}`, failureCount: 1, dueAt: dueAt(n) }));
    await context.store.commit([], failing.map(({ tenantId: _, ...each }) => webhooks.set(webhook.schema.parse(each))));
    at.script({ status: 200, delayMs: 1_200 });
    const { store, clock } = context;
    const query = store.query.bind(store);
    const spy = vi.spyOn(store, "query");
    let read = 0;
    spy.mockImplementation(async (asked) => {
      if (asked.entity !== webhook || asked.orderBy?.[0]?.field !== "dueAt" || asked.limit === 1) return await query(asked);
      // No failing endpoint is begun with in a run that is 6 seconds old.
      if (read === 0) clock.advance(6_000);
      const page = await query(asked);
      read += page.entries.length;
      return page;
    });
    const { processed } = await context.deliver().finally(() => spy.mockRestore());
    expect(processed).toBe(1);
    expect(read).toBeGreaterThanOrEqual(151);
    expect(read).toBeLessThan(2 * 150);
  });

  test("W16: numbers no more events than fit into the CPU time of a call, and the next run goes on", async () => {
    const { store, clock } = context;
    await context.deliver();
    const event = { type: "tenant.updated", subject: "tn_1", data: {}, createdAt: clock.iso(), queuedAt: clock.iso() };
    const ids = Array.from({ length: 4_500 }, (_, n) => `evt_${clock.now()}_${String(n).padStart(12, "0")}`);
    for (let at = 0; at < ids.length; at += 900) {
      await store.commit(
        [],
        ids.slice(at, at + 900).map((id) => ({ op: "set", key: `outbox:${id}`, value: { ...event, id }, tenantId: null })),
      );
    }
    const first = await context.deliver();
    expect(first.remaining).toBeGreaterThan(0);
    const next = await context.deliver();
    expect([first, next].map(({ report }) => Number(report["events"])).reduce((a, b) => a + b)).toBe(4_500);
    expect(next.remaining).toBe(0);
  });
});

describe("limits of an endpoint", () => {
  test.each([1, 3, 16])("W14: at most %i requests are in flight, of the job in every process together", async (maxConcurrency) => {
    const at = await receiver();
    at.script({ status: 200, delayMs: 20 });
    const { id: tenantId } = await context.tenant();
    await context.deliver();
    const { id } = await context.endpoint(at.url, { tenantId, maxConcurrency });
    await waiting(tenantId, id, 80);
    const stores = await context.racers(3);
    const runs = await Promise.allSettled(stores.map((store) => context.deliver(store)));
    expect(runs.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const run of runs) if (run.status === "rejected") expect(run.reason).toMatchObject({ code: "job_running" });
    expect(at.maxInFlight).toBeLessThanOrEqual(maxConcurrency);
    expect(at.maxInFlight).toBeGreaterThanOrEqual(Math.min(3, maxConcurrency));
    expect(at.received).toHaveLength(80);
    expect(new Set(at.received.map(({ headers }) => headers["webhook-id"])).size).toBe(80);
    expect(await statusesOf(id)).toEqual({ success: 80 });
  });

  test("W14: a last request in the future, by a clock that was ahead, delays the next one by no more than the interval", async () => {
    const at = await receiver();
    const { id: tenantId } = await context.tenant();
    await context.deliver();
    const { id } = await context.endpoint(at.url, { tenantId, maxPerSecond: 20, lastDeliveryAt: context.clock.iso(3_600_000) });
    await waiting(tenantId, id, 2);
    await context.deliver();
    expect(at.received).toHaveLength(2);
  });

  test("W14: an endpoint with 20 requests a second gets its 11th not before half a second", async () => {
    const at = await receiver();
    const { id: tenantId } = await context.tenant();
    await context.deliver();
    const { id } = await context.endpoint(at.url, { tenantId, maxPerSecond: 20, maxConcurrency: 16 });
    await waiting(tenantId, id, 12);
    const started = performance.now();
    const run = context.deliver();
    await at.waitFor(11);
    expect(performance.now() - started).toBeGreaterThanOrEqual(499);
    await run;
    expect(at.received).toHaveLength(12);
  });
});

describe("what is deleted meanwhile", () => {
  test.each(["webhook", "tenant"] as const)(
    "W16: deliveries of a deleted %s leave nothing behind, whatever was in flight",
    async (what) => {
      const at = await receiver();
      at.script(async () => {
        await deleted;
        return 500;
      });
      let done: () => void = () => {};
      const deleted = new Promise<void>((resolve) => done = resolve);
      const { id: tenantId } = await context.tenant();
      await context.deliver();
      const { id } = await context.endpoint(at.url, { tenantId });
      await waiting(tenantId, id, 5);
      const run = context.deliver();
      await at.waitFor(1);
      if (what === "tenant") await context.TenantService.delete(tenantId);
      else await context.store.commit([], [{ op: "delete", key: `webhook:${id}` }, { op: "deletePrefix", prefix: `delivery:${id}` }]);
      done();
      expect((await run).errors).toEqual([]);
      expect(await context.dump("delivery")).toEqual([]);
      expect((await context.dump("webhook")).filter(({ key }) => key.endsWith(id))).toEqual([]);
      await context.deliver();
      expect(at.received).toHaveLength(1);
    },
  );

  test("W16: webhooks deleted while events are numbered leave no delivery behind, and the others miss none", async () => {
    const { seed, below } = seededRandom("W16 deletions");
    const at = await receiver();
    const kept = await context.endpoint(`${at.url}/kept`, { events: ["tenant.created"] });
    const others = await Promise.all(Array.from({ length: 12 }, () => context.endpoint(`${at.url}/gone`, { events: ["tenant.created"] })));
    for (const { id } of others) {
      const changes = [context.tenant(), context.deliver().catch((error: unknown) => error)];
      await sleep(below(12));
      await context.store.commit([], [{ op: "delete", key: `webhook:${id}` }, { op: "deletePrefix", prefix: `delivery:${id}` }]);
      await Promise.all(changes);
    }
    await context.deliver();
    const left = (await context.dump("delivery")).map(({ value }) => (value as JsonObject)["webhookId"]);
    expect(new Set(left), `seed ${seed}`).toEqual(new Set([kept.id]));
    const got = at.received.filter(({ path }) => path === "/kept").map(({ headers }) => headers["webhook-id"]);
    expect(new Set(got).size, `seed ${seed}`).toBe(12);
    expect(got).toHaveLength(12);
  });
});

describe("what cannot be sent", () => {
  test("W20: a secret that cannot be decrypted is a failed item of the job, and delays no other endpoint", async () => {
    const [broken, fine] = [await receiver(), await receiver()];
    const [{ id }, other] = [await context.endpoint(broken.url), await context.endpoint(fine.url)];
    const { sealedSecret } = await context.webhookOf(other.id);
    await context.store.increment(`webhook:${id}`, [{ path: ["failureCount"], by: 0 }], { merge: { sealedSecret } });
    await context.tenant();
    await expect(context.deliver()).rejects.toThrow("decryption_failed");
    expect([broken.received.length, fine.received.length]).toEqual([0, 1]);
    expect(await statusesOf(id)).toEqual({ pending: 1 });
  });

  test("W09: a delivery whose event is no longer kept fails and says so", async () => {
    const at = await receiver();
    const { id: tenantId } = await context.tenant();
    await context.deliver();
    const { id } = await context.endpoint(at.url, { tenantId });
    await waiting(tenantId, id, 1);
    await context.store.commit([], [{ op: "deletePrefix", prefix: "outbox" }]);
    await context.deliver();
    expect(await context.deliveriesOf(id)).toMatchObject([{
      status: "failed",
      nextRetryAt: null,
      attempts: [{ error: "The event was deleted by retention before it could be sent." }],
    }]);
    expect(at.received).toEqual([]);
    expect((await context.webhookOf(id)).dueAt).toBeNull();
  });

  test.each([0, 9])("W16: the failure of a process that outlived its lease does not undo a success, after %i attempts", async (round) => {
    const at = await receiver();
    let fail: (status: number) => void = () => {};
    const late = new Promise<number>((resolve) => fail = resolve);
    at.script(() => late, 200);
    const { id: tenantId } = await context.tenant();
    await context.deliver();
    const { id } = await context.endpoint(at.url, { tenantId, events: ["invoice.*"] });
    await waiting(tenantId, id, 1);
    const [{ timestamp = "", nonce = "" } = {}] = await context.deliveriesOf(id);
    await context.store.increment(`delivery:${id}:${timestamp}:${nonce}`, [{ path: ["round"], by: round }]);
    const stopped = context.deliver();
    await at.waitFor(1);
    context.clock.advance(180_000);
    await context.deliver(context.another({ connections: 2 }));
    fail(500);
    await stopped;
    const [after] = await context.deliveriesOf(id);
    expect(after).toMatchObject({ status: "success", nextRetryAt: null, attemptCount: 1, round: round + 1 });
    expect(after?.attempts.map(({ statusCode }) => statusCode)).toEqual([200, 500]);
    expect(await context.eventsAbout(id)).toEqual([]);
  });

  test("W16: a delivery whose result could not be written is sent again with the same id", async () => {
    const at = await receiver();
    const { name, superUrl } = context.database;
    const store = context.another({ connections: 2 });
    await store.get("warm:up");
    at.script(async () => {
      await withClient(superUrl, async (client) => {
        await client.query(`alter database ${name} connection limit 0`);
        await client.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        );
      });
      return 200;
    }, 200);
    const { id } = await context.endpoint(at.url, { events: ["tenant.created"] });
    await context.tenant();
    await expect(context.deliver(store)).rejects.toMatchObject({
      code: expect.stringMatching(/^(store_unavailable|commit_unknown)$/) as string,
    });
    await withClient(superUrl, (client) => client.query(`alter database ${name} connection limit -1`));
    context.clock.advance(180_000);
    await context.deliver();
    const ids = at.received.map(({ headers }) => headers["webhook-id"]);
    expect(ids).toHaveLength(2);
    expect(new Set(ids).size).toBe(1);
    expect(await statusesOf(id)).toEqual({ success: 1 });
  });
});
