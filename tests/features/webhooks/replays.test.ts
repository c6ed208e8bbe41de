import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Collection } from "../../../shared/core/collection.ts";
import { outboxEvent } from "../../../shared/core/outbox-event.ts";
import { numberBefore } from "../../../shared/features/events/sequence.ts";
import { scopes as catalogue } from "../../../shared/features/index.ts";
import { type Delivery, delivery, type Webhook } from "../../../shared/features/webhooks/entity.ts";
import { newDelivery } from "../../../shared/features/webhooks/matching.ts";
import { createReplay, replayStep } from "../../../shared/features/webhooks/replays.ts";
import { type Context, systemContext } from "../../../shared/kernel/context.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
let seq = 0;
beforeAll(async () => {
  context = await openTestContext();
});
afterAll(() => context.close());

const SINCE = "2026-02-01T00:00:00.000Z";
const hooks = (caller?: Partial<Context>) => context.as(caller).WebhookService;
const work = () => context.container.bind(systemContext(context.clock));
const allSteps = async () => {
  let steps = 0;
  while (await replayStep(work())) {
    context.clock.advance(1);
    steps++;
  }
  return steps;
};
const deliveriesOf = async (webhookId: string) =>
  (await context.dump("delivery")).map(({ value }) => value as unknown as Delivery).filter((each) => each.webhookId === webhookId);
const count = (found: readonly Delivery[]) =>
  Object.fromEntries(["pending", "success", "failed"].map((status) => [status, found.filter((each) => each.status === status).length]));

/** A number as the random part of an id. */
const nonceOf = (n: number) => n.toString(36).padStart(12, "0");

/** Numbered events, a second apart from `from` on. */
async function events(number: number, from: string, given: { readonly tenantId?: string; readonly type?: string } = {}) {
  const made = Array.from({ length: number }, (_, i) => {
    const ms = Date.parse(from) + i * 1_000;
    return outboxEvent.schema.parse({
      id: `evt_${ms}_${nonceOf(++seq)}`,
      type: given.type ?? "tenant.updated",
      ...(given.tenantId === undefined ? {} : { tenantId: given.tenantId }),
      subject: "tn_1",
      data: { tenant: { id: "tn_1" } },
      createdAt: new Date(ms).toISOString(),
      seq,
      recordVersion: String(seq),
    });
  });
  const outbox = new Collection(outboxEvent, context.store);
  for (let at = 0; at < made.length; at += 150) await context.store.commit([], made.slice(at, at + 150).map((event) => outbox.set(event)));
  return made.map((event) => ({ ...event, seq: Number(event.seq) }));
}

/** Deliveries of events, with a status. */
async function delivered(
  webhookId: string,
  tenantId: string | undefined,
  of: readonly Parameters<typeof newDelivery>[1][],
  given: Partial<Delivery>,
) {
  const deliveries = new Collection(delivery, context.store);
  const made = of.map((event) =>
    deliveries.set({ ...newDelivery({ id: webhookId, tenantId }, event, SINCE), nextRetryAt: null, ...given })
  );
  for (let at = 0; at < made.length; at += 150) await context.store.commit([], made.slice(at, at + 150));
}

async function endpoint(given: { readonly events?: string[] } = {}) {
  const { id: tenantId } = await context.tenant();
  const { id } = await hooks().create({ tenantId, url: "https://hooks.example.com/in", events: ["tenant.*"], ...given });
  return { id, tenantId };
}

describe("a delivery", () => {
  test("W11: is sent again with the same id and the whole schedule, and the call is audited", async () => {
    const { id, tenantId } = await endpoint();
    const [event] = await events(1, SINCE, { tenantId });
    if (!event) throw new Error("no event");
    await delivered(id, tenantId, [event], { status: "failed", round: 10, attemptCount: 10 });
    const deliveryId = event.id.replace("evt", "delivery");
    const replay = () => hooks().replay(id, deliveryId, { idempotencyKey: "replay-one" });
    const [first, again] = [await replay(), await replay()];
    expect(first).toMatchObject({ id: deliveryId, status: "pending", round: 0, attemptCount: 10, replays: 1, nextRetryAt: work().now() });
    expect(again?.version).toBe(first?.version);
    expect((await hooks().replay(id, event.id))?.version, "one that is due stays as it is").toBe(first?.version);
    expect((await hooks().get(id))?.dueAt).toBe(work().now());
    const audited = (await context.auditOf(tenantId)).filter(({ action }) => action === "delivery.replayed");
    expect(audited).toMatchObject([{ resourceId: deliveryId, data: { webhookId: id, eventId: event.id } }]);
    await hooks().update(id, { enabled: false });
    await expect(hooks().replay(id, deliveryId)).rejects.toMatchObject({ code: "invalid_transition" });
    expect(await hooks().replay("webhook_none", deliveryId)).toBeNull();
  });

  test("W11: that waits for another attempt is sent now", async () => {
    const { id, tenantId } = await endpoint();
    const [event] = await events(1, SINCE, { tenantId });
    if (!event) throw new Error("no event");
    const nextRetryAt = new Date(context.clock.now() + 36_000_000).toISOString();
    await delivered(id, tenantId, [event], { status: "pending", round: 7, attemptCount: 7, nextRetryAt });
    expect(await hooks().replay(id, event.id)).toMatchObject({ status: "pending", round: 0, replays: 1, nextRetryAt: work().now() });
    expect((await hooks().get(id))?.dueAt).toBe(work().now());
  });

  test("W11: of an event that was deleted is not sent again", async () => {
    const { id, tenantId } = await endpoint();
    await delivered(id, tenantId, [{ id: "evt_1767225600000_gone00000000", type: "tenant.updated", seq: 1 }], { status: "failed" });
    await expect(hooks().replay(id, "delivery_1767225600000_gone00000000")).rejects.toMatchObject({ code: "not_found" });
    expect(await hooks().delivery(id, "delivery_1767225600000_gone00000000")).not.toHaveProperty("payload");
  });

  test("W08, W09: is listed by status and event, has its body, and shows the response only to those who may change webhooks", async () => {
    const { id, tenantId } = await endpoint();
    const of = await events(3, SINCE, { tenantId });
    await delivered(id, tenantId, of.slice(0, 2), { status: "success", responseBody: "thanks" });
    await delivered(id, tenantId, of.slice(2), { status: "failed", responseBody: "no" });
    const found = await hooks().deliveries(id, { status: "success", event: "tenant.updated" });
    expect(found?.data.map(({ eventId, responseBody }) => [eventId, responseBody])).toEqual([[of[1]?.id, "thanks"], [of[0]?.id, "thanks"]]);
    const { id: eventId = "", type, createdAt: timestamp, seq: number, data } = of[2] ?? {};
    expect(await hooks().delivery(id, eventId)).toMatchObject({ payload: { id: eventId, type, timestamp, tenantId, seq: number, data } });
    const viewer = hooks({ ...userOf(tenantId), scopes: catalogue.ofTenant("viewer") });
    const seen = [...(await viewer.deliveries(id))?.data ?? [], await viewer.delivery(id, eventId)];
    expect(seen.map((each) => each && "responseBody" in each)).toEqual([false, false, false, false]);
  });
});

test("W01, W09: the body of a delivery is hidden from a caller that must not read its event, and the rest of it is shown", async () => {
  const { id, tenantId } = await endpoint({ events: ["*"] });
  const of = [...await events(1, SINCE, { tenantId, type: "api-key.created" }), ...await events(1, SINCE, { tenantId })];
  await delivered(id, tenantId, of, { status: "failed" });
  const callers = {
    owner: catalogue.ofTenant("owner"),
    viewer: catalogue.ofTenant("viewer"),
    withoutKeys: new Set(["read:webhooks", "write:webhooks", "read:events"]),
    withoutEvents: new Set(["read:webhooks", "read:api-keys"]),
  };
  const seen: Record<string, boolean[]> = {};
  for (const [name, scopes] of Object.entries(callers)) {
    const service = hooks({ ...userOf(tenantId), scopes });
    const shown = await Promise.all(of.map((event) => service.delivery(id, event.id)));
    expect(shown.map((each) => each?.event)).toEqual(["api-key.created", "tenant.updated"]);
    seen[name] = shown.map((each) => each !== null && "payload" in each);
    const bodies = [await service.deliveries(id), await service.replay(id, of[0]?.id ?? "").catch((error: unknown) => error)];
    expect(JSON.stringify(bodies)).not.toContain('"payload"');
  }
  expect(seen).toEqual({ owner: [true, true], viewer: [false, true], withoutKeys: [false, true], withoutEvents: [false, false] });
});

describe("a replay", () => {
  test("W11: of what failed since an instant makes exactly that due, and repeated, nothing more", async () => {
    const { id, tenantId } = await endpoint();
    const [old, recent] = [await events(5, "2026-01-31T23:00:00.000Z", { tenantId }), await events(400, SINCE, { tenantId })];
    await delivered(id, tenantId, old, { status: "failed" });
    await delivered(id, tenantId, recent.slice(0, 30), { status: "success" });
    await delivered(id, tenantId, recent.slice(30), { status: "failed" });
    const { id: replayId = "" } = await hooks().replaySince(id, { since: SINCE, kind: "failed" }) ?? {};
    expect(await allSteps()).toBe(3);
    expect(count(await deliveriesOf(id))).toEqual({ pending: 370, success: 30, failed: 5 });
    expect(await hooks().replayOf(id, replayId)).toMatchObject({ status: "completed", examined: 370, replayed: 370, dueAt: null });
    expect((await hooks().get(id))?.dueAt).not.toBeNull();
    const again = await hooks().replaySince(id, { since: SINCE, kind: "failed" });
    await allSteps();
    expect(await hooks().replayOf(id, again?.id ?? "")).toMatchObject({ status: "completed", replayed: 0 });
    expect((await hooks().replays(id))?.data.map(({ kind }) => kind)).toEqual(["failed", "failed"]);
    const audited = (await context.auditOf(tenantId)).filter(({ action }) => action === "webhook.replayed");
    expect(audited).toMatchObject([{ resourceId: id, data: { since: SINCE, kind: "failed", replayId } }, {}]);
  });

  test("W11: of what failed makes what waits for another attempt due too, and leaves what is due already as it is", async () => {
    const { id, tenantId } = await endpoint();
    const of = await events(400, SINCE, { tenantId });
    const [past, future] = [-1, 36_000_000].map((ms) => new Date(context.clock.now() + ms).toISOString());
    await delivered(id, tenantId, of.slice(0, 5), { status: "failed" });
    await delivered(id, tenantId, of.slice(5, 200), { status: "pending", attemptCount: 7, round: 7, nextRetryAt: future ?? "" });
    await delivered(id, tenantId, of.slice(200), { status: "pending", nextRetryAt: past ?? "" });
    const { id: replayId = "" } = await hooks().replaySince(id, { since: SINCE, kind: "failed" }) ?? {};
    await allSteps();
    expect(await hooks().replayOf(id, replayId)).toMatchObject({ status: "completed", examined: 200, replayed: 200 });
    const found = await deliveriesOf(id);
    expect(found.filter(({ nextRetryAt }) => nextRetryAt === null || nextRetryAt > context.clock.iso())).toEqual([]);
    expect(found.filter(({ replays }) => replays === 1)).toHaveLength(200);
  });

  test("W11: of what is missing creates one delivery for each event that the webhook should have got, also when two run at once", async () => {
    const { id, tenantId } = await endpoint();
    const { tenantId: neighbour } = await endpoint();
    const old = await events(3, "2026-01-31T23:00:00.000Z", { tenantId });
    const own = await events(420, SINCE, { tenantId });
    await events(10, SINCE, { tenantId, type: "plan.created" });
    await events(10, SINCE, { tenantId: neighbour });
    await delivered(id, tenantId, own.slice(100, 120), { status: "success" });
    const both = [
      await hooks().replaySince(id, { since: SINCE, kind: "missing" }),
      await hooks().replaySince(id, { since: SINCE, kind: "missing" }),
    ];
    const processes = Array.from({ length: 3 }, async () => {
      while (await replayStep(work()));
    });
    await Promise.all(processes);
    while ((await hooks().replays(id, { status: "running" }))?.data.length) {
      context.clock.advance(5_000);
      await allSteps();
    }
    const found = await deliveriesOf(id);
    expect(found.map(({ eventId }) => eventId).sort()).toEqual(own.map((event) => event.id).sort());
    expect(count(found)).toEqual({ pending: 400, success: 20, failed: 0 });
    expect(found.some(({ eventId }) => old.some((event) => event.id === eventId))).toBe(false);
    const ended = await Promise.all(both.map((replay) => hooks().replayOf(id, replay?.id ?? "")));
    expect(ended.map((replay) => replay?.status)).toEqual(["completed", "completed"]);
    expect(ended.reduce((sum, replay) => sum + (replay?.replayed ?? 0), 0)).toBe(400);
  });

  test("W12: what a webhook lacks since its first failed event is counted when it is enabled again", async () => {
    const { id, tenantId } = await endpoint();
    const of = await events(12, SINCE, { tenantId });
    await delivered(id, tenantId, of.slice(0, 5), { status: "failed" });
    await hooks().update(id, { enabled: false });
    const stored = await context.store.get(`webhook:${id}`);
    await context.store.set(`webhook:${id}`, { ...stored?.value as object, failingSince: "2026-02-01T01:00:00.000Z" }, { tenantId });
    expect(await hooks().enable(id)).toMatchObject({ failingSince: null, gap: { since: SINCE, failed: 5, missing: 7, isComplete: true } });
  });

  test("W11: of a disabled webhook is refused, and one that is disabled meanwhile ends it", async () => {
    const { id, tenantId } = await endpoint();
    await delivered(id, tenantId, await events(3, SINCE, { tenantId }), { status: "failed" });
    const replay = await hooks().replaySince(id, { since: SINCE, kind: "failed" });
    await hooks().update(id, { enabled: false });
    await expect(hooks().replaySince(id, { since: SINCE, kind: "failed" })).rejects.toMatchObject({ code: "invalid_transition" });
    await allSteps();
    expect(await hooks().replayOf(id, replay?.id ?? "")).toMatchObject({ status: "cancelled", replayed: 0 });
    expect(count(await deliveriesOf(id))).toEqual({ pending: 0, success: 0, failed: 3 });
  });

  test("W11: beyond five at the same time, also of twelve at once, or since a future instant, is refused", async () => {
    const { id } = await endpoint();
    const begin = (options = {}) => hooks().replaySince(id, { since: SINCE, kind: "failed" }, options);
    const first = await begin({ idempotencyKey: "replay-once" });
    const results = await Promise.allSettled(Array.from({ length: 12 }, () => begin()));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(4);
    await expect(begin()).rejects.toMatchObject({ fields: [{ code: "too_many" }] });
    expect((await begin({ idempotencyKey: "replay-once" }))?.id).toBe(first?.id);
    await expect(hooks().replaySince(id, { since: "2030-01-01T00:00:00.000Z", kind: "failed" })).rejects.toMatchObject({
      fields: [{ path: "/since" }],
    });
    await allSteps();
  });

  test("W11: is nothing to another tenant, and neither are the deliveries that it would send", async () => {
    const { id, tenantId } = await endpoint();
    const [event] = await events(1, SINCE, { tenantId });
    if (!event) throw new Error("no event");
    await delivered(id, tenantId, [event], { status: "failed" });
    const { id: replayId = "" } = await hooks().replaySince(id, { since: SINCE, kind: "failed" }) ?? {};
    const { tenantId: neighbour } = await endpoint();
    const stranger = hooks(userOf(neighbour));
    for (const asked of [id, `webhook:${id}`]) {
      const calls = [
        stranger.replaySince(asked, { since: SINCE, kind: "missing" }),
        stranger.replays(asked),
        stranger.replayOf(asked, replayId),
        stranger.replay(asked, event.id),
        stranger.delivery(asked, event.id),
      ];
      expect(await Promise.all(calls)).toEqual([null, null, null, null, null]);
    }
    const { id: ownReplay } = await hooks(userOf(tenantId)).replayOf(id, replayId) ?? {};
    expect([ownReplay, (await hooks().replays(id))?.data.length]).toEqual([replayId, 1]);
    await allSteps();
  });

  test("W11: begins after the last number before its instant, also when a later event still has none, or at the first of all", async () => {
    const { id, tenantId } = await endpoint();
    const numbered = await events(3, "2026-02-02T00:00:00.000Z", { tenantId });
    const { seq: _, recordVersion: __, ...waiting } = numbered[2] ?? {};
    const outbox = new Collection(outboxEvent, context.store);
    const queuedAt = "2026-02-02T00:05:00.000Z";
    const late = { ...waiting, id: `evt_${Date.parse(queuedAt)}_waits0000000`, createdAt: queuedAt, queuedAt };
    await context.store.commit([], [outbox.set(outboxEvent.schema.parse(late))]);
    expect(await numberBefore(work(), "2026-02-02T01:00:00.000Z", { scope: tenantId })).toBe(numbered[2]?.seq);
    await context.store.commit([], [{ op: "delete", key: `outbox:${late.id}` }]);
    const all = await hooks().replaySince(id, { since: "0000-01-01T00:00:00.000Z", kind: "missing" });
    await allSteps();
    expect(await hooks().replayOf(id, all?.id ?? "")).toMatchObject({ status: "completed", replayed: 3 });
  });

  test("W11: of a webhook that was deleted since it was read is not recorded", async () => {
    const { id } = await endpoint();
    const read = await hooks().get(id);
    if (!read) throw new Error("no webhook");
    await hooks().delete(id);
    await expect(createReplay(work(), read as unknown as Webhook, { since: SINCE, kind: "failed" }, {})).rejects.toMatchObject({
      code: "not_found",
    });
    expect((await context.dump("webhookreplay")).filter(({ key }) => key.includes(id))).toEqual([]);
  });

  test.each(["webhook", "tenant"])("W11: leaves nothing behind when its %s is deleted in the middle of it", async (what) => {
    for (let round = 0; round < 3; round++) {
      const { id, tenantId } = await endpoint();
      await events(250, SINCE, { tenantId });
      await hooks().replaySince(id, { since: SINCE, kind: "missing" });
      const deletion = async () => {
        await replayStep(work());
        await (what === "webhook" ? hooks().delete(id) : context.TenantService.delete(tenantId));
      };
      await Promise.all([deletion(), allSteps(), allSteps()]);
      await allSteps();
      expect(await deliveriesOf(id)).toEqual([]);
      const left = [...await context.dump("webhookreplay"), ...await context.dump("webhook")].filter(({ key }) => key.includes(id));
      expect(left.map(({ key }) => key)).toEqual([]);
      const counted = (await context.dump("webhookcount")).find(({ key }) => key === `webhookcount:${tenantId}`);
      expect(counted?.value).toEqual(what === "tenant" ? undefined : { holder: tenantId, tenantId, count: 0 });
    }
  });
});
