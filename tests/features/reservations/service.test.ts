import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { closesAt } from "../../../shared/core/periods.ts";
import { MAX_HOLD_SECONDS } from "../../../shared/features/reservations/entity.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";
import { batchOf, eventOf } from "../usage-events/support.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());
beforeEach(() => context.clock.set("2026-03-10T12:00:00.000Z"));

/** A tenant with a limit of 10 of the metric. */
async function limited(metric = "bookings", limit = 10): Promise<string> {
  const { id } = await context.tenant();
  await context.UsageService.record(id, metric, 0, limit);
  return id;
}
const usageOf = async (id: string, metric = "bookings", period?: string) => await context.UsageService.get(id, metric, period);
const reserve = (id: string, amount: number, seconds?: number, metric = "bookings") =>
  context.ReservationService.reserve(id, metric, amount, seconds);
const commit = (id: string, held: { readonly id: string }, amount?: number, metric = "bookings") =>
  context.ReservationService.commit(id, metric, held.id, amount);
const release = (id: string, held: { readonly id: string }) => context.ReservationService.release(id, "bookings", held.id);

describe("a reservation", () => {
  test("U13: counts as used while it is held, and the usage says how much of it is reserved", async () => {
    const id = await limited();
    const held = await reserve(id, 4, 60);
    expect(held).toMatchObject({
      metric: "bookings",
      period: "2026-03",
      amount: 4,
      status: "held",
      expired: false,
      expiresAt: "2026-03-10T12:01:00.000Z",
    });
    expect(await context.ReservationService.get(id, held.id)).toEqual(held);
    expect(await usageOf(id)).toMatchObject({ current: 4, reserved: 4, percentage: 40 });
    expect(await context.UsageService.consume(id, "bookings", 7)).toMatchObject({ allowed: false, remaining: 6 });
  });

  test("U13: is committed with the amount that was used, and the rest is free again", async () => {
    const id = await limited();
    const held = await reserve(id, 6);
    context.clock.advance(1_000);
    expect(await commit(id, held, 2.5)).toMatchObject({
      status: "committed",
      amount: 6,
      committedAmount: 2.5,
      endedAt: "2026-03-10T12:00:01.000Z",
    });
    expect(await usageOf(id)).toMatchObject({ current: 2.5, reserved: 0, daily: { "2026-03-10": 2.5 } });
  });

  test("U13: a larger amount than the held one must fit the limit", async () => {
    const id = await limited();
    const held = await reserve(id, 6);
    await context.UsageService.increment(id, "bookings", 1);
    await expect(commit(id, held, 10)).rejects.toMatchObject({
      code: "usage_limit_exceeded",
      details: { current: 7, limit: 10, remaining: 3 },
    });
    expect(await usageOf(id)).toMatchObject({ current: 7, reserved: 6 });
    await commit(id, held, 9);
    expect(await usageOf(id)).toMatchObject({ current: 10, reserved: 0, daily: { "2026-03-10": 10 } });
  });

  test("U13: a commit is repeated without effect, another amount is refused, and so is a commit after a release", async () => {
    const id = await limited();
    const [first, second] = [await reserve(id, 3), await reserve(id, 2)];
    const done = await commit(id, first);
    expect(await commit(id, first, 3)).toEqual(done);
    expect(await codeOf(commit(id, first, 4))).toBe("reservation_ended");
    expect(await codeOf(release(id, first))).toBe("reservation_ended");
    const freed = await release(id, second);
    expect(freed).toMatchObject({ status: "released", expired: false });
    expect(await release(id, second)).toEqual(freed);
    expect(await codeOf(commit(id, second))).toBe("reservation_ended");
    expect(await usageOf(id)).toMatchObject({ current: 3, reserved: 0, daily: { "2026-03-10": 3 } });
  });

  test("U13: what does not fit is refused with what fits, and nothing is written", async () => {
    const id = await limited();
    await context.UsageService.increment(id, "bookings", 8);
    await expect(reserve(id, 3)).rejects.toMatchObject({
      code: "usage_limit_exceeded",
      details: { current: 8, limit: 10, remaining: 2 },
    });
    expect((await context.ReservationService.list(id)).data).toEqual([]);
    expect(await usageOf(id)).toMatchObject({ current: 8, reserved: 0 });
  });

  test("U13: an unknown metric, tenant or reservation, an amount of 0 and a hold of more than a day are refused", async () => {
    const id = await limited();
    expect(await codeOf(reserve(id, 1, 60, "none"))).toBe("not_found");
    expect(await codeOf(reserve("tn_none", 1))).toBe("not_found");
    expect(await codeOf(reserve(id, 0))).toBe("validation_failed");
    expect(await codeOf(reserve(id, 1, MAX_HOLD_SECONDS + 1))).toBe("validation_failed");
    expect(await commit(id, { id: "res_none" })).toBeNull();
    const held = await reserve(id, 1);
    expect(await commit(id, held, 1, "rooms")).toBeNull();
    expect(await codeOf(commit(id, held, -1))).toBe("validation_failed");
  });

  test("U13: with an idempotency key reserves once, and commits once", async () => {
    const id = await limited();
    const hold = () => context.ReservationService.reserve(id, "bookings", 4, 60, { idempotencyKey: "hold-1" });
    const [first, ...others] = [await hold(), await hold(), await hold()];
    expect(others).toEqual([first, first]);
    expect(await usageOf(id)).toMatchObject({ current: 4, reserved: 4 });
    const use = () => context.ReservationService.commit(id, "bookings", first.id, 3, { idempotencyKey: "used-1" });
    expect(await use()).toEqual(await use());
    expect(await usageOf(id)).toMatchObject({ current: 3, reserved: 0 });
  });

  test("U14: soft allows a hold above the limit, hard one up to its grace", async () => {
    const [soft, grace] = ["soft_holds", "grace_holds"];
    await context.MetricService.create({ id: soft, name: soft, unit: "pieces", kind: "counter", policy: "soft" });
    await context.MetricService.create({ id: grace, name: grace, unit: "pieces", kind: "counter", gracePercent: 50 });
    const [a, b] = [await limited(soft), await limited(grace)];
    expect(await reserve(a, 25, 60, soft)).toMatchObject({ amount: 25 });
    await reserve(b, 15, 60, grace);
    expect(await codeOf(reserve(b, 0.000001, 60, grace))).toBe("usage_limit_exceeded");
  });
});

describe("the expiry of a reservation", () => {
  test("U13: at its instant it is shown as released, its commit is refused, and its amount no longer blocks a reservation", async () => {
    const id = await limited();
    const held = await reserve(id, 10, 60);
    context.clock.advance(59_999);
    expect(await context.ReservationService.get(id, held.id)).toMatchObject({ status: "held", expired: false });
    expect(await codeOf(reserve(id, 1))).toBe("usage_limit_exceeded");
    context.clock.advance(1);
    expect(await context.ReservationService.get(id, held.id)).toMatchObject({
      status: "released",
      expired: true,
      endedAt: held.expiresAt,
      version: `${held.version}-expired`,
    });
    expect(await codeOf(commit(id, held))).toBe("reservation_expired");
    expect(await reserve(id, 10)).toMatchObject({ status: "held" });
    expect(await usageOf(id)).toMatchObject({ current: 10, reserved: 10 });
    expect(await codeOf(commit(id, held))).toBe("reservation_expired");
  });

  test("U13: its amount no longer blocks a consumption either, nor the commit of another one with more", async () => {
    const id = await limited();
    const other = await reserve(id, 1, 600);
    await reserve(id, 9, 60);
    context.clock.advance(60_000);
    expect(await context.UsageService.consume(id, "bookings", 4)).toMatchObject({ allowed: true, current: 5 });
    await reserve(id, 5, 60);
    context.clock.advance(60_000);
    await commit(id, other, 6);
    expect(await usageOf(id)).toMatchObject({ current: 10, reserved: 0, daily: { "2026-03-10": 10 } });
  });

  test("U13: the job releases what nobody asks for, and only that", async () => {
    const id = await limited("bookings", 1_000);
    for (let n = 0; n < 45; n++) await reserve(id, 1, n < 42 ? 60 : 7_200);
    context.clock.advance(3_600_000);
    expect((await context.JobService.run("reservations")).errors).toEqual([]);
    const { data } = await context.ReservationService.list(id, { status: "held" }, undefined, { limit: 100 });
    expect(data).toHaveLength(3);
    expect(await usageOf(id)).toMatchObject({ current: 3, reserved: 3 });
    expect(await context.JobService.run("reservations")).toMatchObject({ processed: 0, remaining: 0 });
  });

  test("U13: every reservation can end before its month closes", () => {
    const lastHold = Date.parse("2026-03-31T23:59:59.999Z") + MAX_HOLD_SECONDS * 1_000;
    expect(lastHold).toBeLessThan(Date.parse(closesAt("2026-03")));
  });
});

describe("a reservation over the turn of the month", () => {
  test("U13: a counter's belongs to the month in which it was made", async () => {
    context.clock.set("2026-03-31T23:59:50.000Z");
    const id = await limited();
    const held = await reserve(id, 5, 60);
    context.clock.advance(20_000);
    await commit(id, held, 6);
    expect(await usageOf(id, "bookings", "2026-03")).toMatchObject({ current: 6, reserved: 0, daily: { "2026-03-31": 6 } });
    expect(await usageOf(id)).toMatchObject({ current: 0, period: "2026-04" });
  });

  test("U13: a gauge's hold is not carried over, and its commit counts in the new month", async () => {
    context.clock.set("2026-03-31T23:59:50.000Z");
    const id = await limited("rooms");
    await context.UsageService.record(id, "rooms", 3);
    const [kept, lost] = [await reserve(id, 2, 60, "rooms"), await reserve(id, 1, 15, "rooms")];
    context.clock.advance(20_000);
    expect(await usageOf(id, "rooms")).toMatchObject({ current: 3, reserved: 0, period: "2026-04" });
    await commit(id, kept, undefined, "rooms");
    expect(await codeOf(commit(id, lost, undefined, "rooms"))).toBe("reservation_expired");
    await context.JobService.run("reservations");
    expect(await usageOf(id, "rooms")).toMatchObject({ current: 5, reserved: 0, daily: { "2026-04-01": 5 } });
    expect(await usageOf(id, "rooms", "2026-03")).toMatchObject({ current: 3, reserved: 0, daily: { "2026-03-31": 3 } });
  });
});

describe("usage that others change while it is reserved", () => {
  test("U13: setting or lowering a gauge leaves the reserved amount as it is", async () => {
    const id = await limited("rooms", 100);
    const held = await reserve(id, 10, 60, "rooms");
    expect(await context.UsageService.record(id, "rooms", 40)).toMatchObject({
      current: 50,
      reserved: 10,
      daily: { "2026-03-10": 40 },
    });
    expect(await context.UsageService.increment(id, "rooms", -40)).toMatchObject({
      current: 10,
      reserved: 10,
      daily: { "2026-03-10": 0 },
    });
    expect(await codeOf(context.UsageService.increment(id, "rooms", -1))).toBe("usage_below_zero");
    await commit(id, held, 7, "rooms");
    expect(await usageOf(id, "rooms")).toMatchObject({ current: 7, reserved: 0, daily: { "2026-03-10": 7 } });
  });

  test("U13: an event of a gauge sets the level beside the reserved amount", async () => {
    const id = await limited("rooms", 100);
    const held = await reserve(id, 20, 60, "rooms");
    await context.UsageEventService.ingest(batchOf(eventOf(id, "level", { amount: 5 }, { type: "rooms" })));
    expect(await usageOf(id, "rooms")).toMatchObject({ current: 25, reserved: 20, daily: { "2026-03-10": 5 } });
    await context.ReservationService.release(id, "rooms", held.id);
    expect(await usageOf(id, "rooms")).toMatchObject({ current: 5, reserved: 0 });
  });

  test("U19: voiding an event takes nothing out of the reserved amount", async () => {
    const id = await limited("bookings", 100);
    const [{ usageEventId = "" } = {}] = await context.UsageEventService.ingest(batchOf(eventOf(id, "sold", { amount: 20 }, {
      type: "bookings",
    })));
    await context.UsageService.record(id, "bookings", 10);
    const held = await reserve(id, 50);
    const voided = () => context.UsageEventService.void(id, usageEventId, { reason: "Sent by a test" });
    expect(await codeOf(voided())).toBe("usage_below_zero");
    expect(await usageOf(id)).toMatchObject({ current: 60, reserved: 50 });
    await context.UsageService.increment(id, "bookings", 15);
    await voided();
    expect(await usageOf(id)).toMatchObject({ current: 55, reserved: 50 });
    await release(id, held);
    expect(await usageOf(id)).toMatchObject({ current: 5, reserved: 0 });
  });

  test("U13: correcting a counter sets what is used without what is reserved", async () => {
    const id = await limited("bookings", 100);
    const held = await reserve(id, 10);
    expect(await context.UsageService.record(id, "bookings", 5)).toMatchObject({
      current: 15,
      reserved: 10,
      daily: { "2026-03-10": 5 },
    });
    expect(await codeOf(context.UsageService.increment(id, "bookings", -6))).toBe("usage_below_zero");
    expect(await context.UsageService.increment(id, "bookings", -5)).toMatchObject({ current: 10, reserved: 10 });
    await release(id, held);
    expect(await usageOf(id)).toMatchObject({ current: 0, reserved: 0 });
  });
});
