import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hashOfEmail } from "../../../shared/core/personal-data.ts";
import { statusOf } from "../../../shared/features/erasures/receipts.ts";
import { codeOf } from "../../support/store.ts";
import { startReceiver } from "../../support/receiver.ts";
import { type DeliveryContext, openDelivery } from "../webhooks/delivery-support.ts";

const DAY = 86_400_000;
const EVA = { userId: "eva-1", emails: ["Eva@Aurora.example"] };
let context: DeliveryContext;
beforeAll(async () => void (context = await openDelivery()));
afterAll(() => context.close());

/** A tenant of Eva, who has also used it. */
async function tenantOfEva(): Promise<string> {
  const { id } = await context.tenant({ owner: "eva@aurora.example", ownerName: "Eva" });
  const eva = context.as({ actor: { type: "user", id: "eva-1", email: "Eva@Aurora.example" }, tenantId: id, role: "owner" });
  await eva.ComplianceService.createRequest(id, "export", "eva-1", "Eva@Aurora.example");
  await eva.NotificationService.putPreferences({ categories: { product: { inApp: false } } });
  await context.ConnectorEventService.logSlackMessage(id, "#front-desk", "Hello", "eva-1");
  return id;
}

test("C11: the records that name a person are found by every declared field, with their keys, and nobody else's", async () => {
  const id = await tenantOfEva();
  const { id: neighbour } = await context.tenant({ owner: "carl@aurora.example", ownerName: "Eva" });
  await context.LegalHoldService.create({ userId: "eva-2", reason: "Case 1" });
  const hold = await context.LegalHoldService.create({ userId: "eva-1", reason: "Case 2" });
  const before = await context.dump();
  const { records, tenants } = await context.ErasureService.preview(EVA);
  const places = Object.fromEntries(records.map(({ entity, field, count }) => [`${entity}.${field}`, count]));
  expect(places).toMatchObject({
    "tenant.owner": 1,
    "compliance-request.requestedBy": 1,
    "compliance-request.requestedByEmail": 1,
    "notification-preferences.userId": 1,
    "connector-event.userId": 1,
    "legal-hold.userId": 1,
    "held-person.name": 1,
  });
  expect(places["audit-entry.userId"]).toBeGreaterThan(0);
  expect(places["personal-key.emailHash"]).toBeGreaterThan(0);
  expect(tenants).toEqual([id]);
  const keys = records.flatMap((record) => record.keys);
  expect(keys).toEqual(expect.arrayContaining([`tenant:${id}`, `legalhold:${hold.id}`, `inbox:${id}:eva-1:preferences`]));
  expect(keys.filter((key) => key.includes(neighbour) || key.includes("eva-2"))).toEqual([]);
  expect(await context.dump()).toEqual(before);
  expect(await codeOf(context.as({ tenantId: id, role: "owner" }).ErasureService.preview(EVA))).toBe("forbidden");
  await context.LegalHoldService.release(hold.id);
});

describe("an erasure", () => {
  test("C12: is announced in its own commit to the platform and to the person's tenants, and names the person by pseudonyms", async () => {
    const id = await tenantOfEva();
    const gone = await tenantOfEva();
    await context.TenantService.delete(gone);
    const erased = await context.ErasureService.erase(EVA);
    expect(erased.events.map(({ tenantId }) => tenantId)).toEqual(expect.arrayContaining([undefined, id]));
    expect(erased.events.map(({ tenantId }) => tenantId)).not.toContain(gone);
    const rows = await context.store.mget([`erasure:${erased.id}`, ...erased.events.map((event) => `outbox:${event.id}`)]);
    expect(new Set(rows.map((row) => row?.version))).toEqual(new Set([erased.version]));
    const data = { erasureId: erased.id, userId: "eva-1", emailHashes: [await hashOfEmail("eva@aurora.example")] };
    expect(rows[1]?.value).toMatchObject({ type: "subject.erased", subject: erased.id, data });
    expect(JSON.stringify(rows).toLowerCase()).not.toContain("eva@");
    expect(erased).toMatchObject({ status: "waiting", isComplete: true, requestedBy: "admin-1" });
    expect(erased.keys).toBeGreaterThan(0);
  });

  test("C12: shows which webhooks have acknowledged it, and is closed when all have", async () => {
    const { ErasureService, JobService, clock } = context;
    const [platform, own, other] = [await startReceiver(), await startReceiver(), await startReceiver()];
    const { id } = await context.tenant({ owner: "olga@aurora.example" });
    const { id: neighbour } = await context.tenant();
    await context.deliver();
    const toPlatform = await context.endpoint(platform.url, { events: ["subject.*"] });
    const toOwn = await context.endpoint(own.url, { tenantId: id, events: ["subject.erased"] });
    const toOthers = await context.endpoint(other.url, { tenantId: id, events: ["invoice.*"] });
    await context.endpoint(other.url, { tenantId: neighbour, events: ["*"] });
    own.script(503, 204);
    const { id: erasureId } = await ErasureService.erase({ emails: ["olga@aurora.example"] });
    const receipts = async () =>
      Object.fromEntries((await ErasureService.get(erasureId))?.receipts.map(({ webhookId, status }) => [webhookId, status]) ?? []);
    expect(await receipts()).toEqual({ [toPlatform.id]: "waiting", [toOwn.id]: "waiting", [toOthers.id]: "not_sent" });
    await context.deliver();
    expect(await receipts()).toEqual({ [toPlatform.id]: "acknowledged", [toOwn.id]: "waiting", [toOthers.id]: "not_sent" });
    clock.advance(3_600_000);
    expect(await JobService.run("compliance")).toMatchObject({ errors: [], report: { erasures: expect.any(Number) as number } });
    expect(await ErasureService.get(erasureId)).toMatchObject({ status: "waiting" });
    await context.deliver();
    clock.advance(3_600_000);
    await JobService.run("compliance");
    const closed = await ErasureService.get(erasureId);
    expect(closed).toMatchObject({ status: "acknowledged", closedAt: clock.iso() });
    expect(closed).not.toHaveProperty("checkAt");
    expect((await ErasureService.list({ status: "acknowledged" })).data.map((each) => each.id)).toContain(erasureId);
    const listed = await receipts();
    await context.store.commit([], [{ op: "deletePrefix", prefix: "delivery" }]);
    expect([listed, await receipts()]).toEqual([listed, listed]);
    expect(other.received).toEqual([]);
    for (const each of [platform, own, other]) await each.close();
  });

  test("C12: that a webhook has not acknowledged in 28 days is closed as such", () => {
    const receipts = [{ status: "acknowledged" }, { status: "failed" }, { status: "not_sent" }] as const;
    expect([statusOf(receipts, 28 * DAY - 1), statusOf(receipts, 28 * DAY)]).toEqual(["waiting", "unacknowledged"]);
    expect(statusOf([], 0)).toBe("acknowledged");
  });
});
