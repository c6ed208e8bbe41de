import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => {
  context = await openTestContext();
  context.clock.set("2026-03-01T09:00:00.000Z");
  await context.MetricService.update("bookings", { policy: "overage" });
  await context.PlanService.create({
    name: "Metered",
    price: 1_000,
    currency: "USD",
    interval: "monthly",
    limits: { bookings: 10, rooms: 5 },
    overage: { bookings: { unitAmount: 25, per: 2 }, rooms: { unitAmount: 1, per: 1 } },
  });
});
afterAll(() => context.close());

const itemsOf = async (id: string) =>
  (await context.SubscriptionService.get(id))?.pendingItems.map(({ description, amount }) => [description, amount]);
const billedOf = async (id: string) => (await context.auditOf(id)).filter(({ action }) => action === "subscription.overage_billed");

/** A tenant that uses 15 of 10 bookings, and 9 of 5 rooms, whose policy is hard. */
async function heavy(plan = "Metered"): Promise<string> {
  const { id } = await context.tenant({ plan });
  await context.UsageService.increment(id, "bookings", 15);
  await context.UsageService.increment(id, "rooms", 9);
  return id;
}

describe("the close of a month", () => {
  test("U14: bills what is above the limit of an overage metric, once, with audit entry and event", async () => {
    const id = await heavy();
    const [light, other] = [(await context.tenant({ plan: "Metered" })).id, await heavy("Pro")];
    await context.JobService.run("closings");
    context.clock.set("2026-04-03T23:59:59.999Z");
    await context.JobService.run("closings");
    expect(await itemsOf(id)).toEqual([]);
    context.clock.set("2026-04-04T00:10:00.000Z");
    expect(await context.JobService.run("closings", { dryRun: true })).toMatchObject({ errors: [] });
    expect(await itemsOf(id)).toEqual([]);
    for (let n = 0; n < 3; n++) {
      expect(await context.JobService.run("closings")).toMatchObject({ complete: true, errors: [], remaining: 0 });
    }
    expect(await itemsOf(id)).toEqual([["Overage bookings 2026-03", 75]]);
    expect([await itemsOf(light), await itemsOf(other)]).toEqual([[], []]);
    expect(await billedOf(id)).toMatchObject([{ data: { period: "2026-03", lineItems: [{ quantity: 3, unitAmount: 25 }] } }]);
    const events = (await context.dump("outbox")).map(({ value }) => value as JsonObject).filter(({ type }) =>
      type === "subscription.overage_billed"
    );
    expect(events).toMatchObject([{
      tenantId: id,
      data: { overage: { period: "2026-03" }, subscription: { overageMonths: ["2026-03"] } },
    }]);
    expect((await context.ClosingService.list()).data.map(({ period }) => period)).toEqual(["2026-03", "2026-02", "2026-01"]);
    expect(await context.ClosingService.get("2026-03")).toMatchObject({ metrics: ["bookings"] });
  });

  test("U14: the next invoice contains it, also the last one after a cancellation", async () => {
    context.clock.set("2026-05-10T09:00:00.000Z");
    const [live, gone] = [await heavy(), await heavy()];
    await context.JobService.run("subscriptions");
    await context.SubscriptionService.cancel(gone, false);
    for (const id of [live, gone]) {
      for (const one of (await context.InvoiceService.list(id)).data) await context.InvoiceService.markPaid(id, one.id);
    }
    context.clock.set("2026-06-04T00:10:00.000Z");
    await context.JobService.run("closings");
    await context.JobService.run("subscriptions");
    context.clock.set("2026-06-10T09:00:00.000Z");
    await context.JobService.run("subscriptions");
    for (const id of [live, gone]) {
      const invoices = (await context.InvoiceService.list(id)).data;
      const lines = invoices.flatMap(({ lineItems }) => lineItems).filter(({ kind }) => kind === "usage");
      expect(lines, id).toMatchObject([{ description: "Overage bookings 2026-05", amount: 75 }]);
      expect(await itemsOf(id)).toEqual([]);
    }
  });

  test("U14: closes one month after the other after a long pause, and bills each", async () => {
    context.clock.set("2026-07-10T09:00:00.000Z");
    const id = await heavy();
    context.clock.set("2026-08-01T09:00:00.000Z");
    await context.UsageService.increment(id, "bookings", 11);
    context.clock.set("2026-10-20T09:00:00.000Z");
    expect(await context.JobService.run("closings")).toMatchObject({ complete: true, errors: [] });
    expect(await itemsOf(id)).toEqual([["Overage bookings 2026-07", 75], ["Overage bookings 2026-08", 25]]);
    expect((await context.ClosingService.list()).data[0]).toMatchObject({ period: "2026-09" });
  });

  test("U14: a subscription that cannot be billed fails as one item, and is billed once it can", async () => {
    context.clock.set("2026-11-10T09:00:00.000Z");
    const [id, broken] = [await heavy(), await heavy()];
    const key = `subscription:${broken}`;
    const { value } = await context.store.get(key) as { value: JsonObject };
    await context.store.set(key, { ...value, planVersion: 99 }, { tenantId: broken });
    context.clock.set("2026-12-04T00:10:00.000Z");
    // October is still to be closed, too.
    expect((await context.JobService.run("closings")).errors).toMatchObject(
      ["2026-10", "2026-11"].map((period) => ({ item: `${period}:${broken}`, code: "not_found" })),
    );
    expect(await itemsOf(id)).toEqual([["Overage bookings 2026-11", 75]]);
    expect(await context.ClosingService.get("2026-11")).not.toBeNull();
    await context.store.set(key, value, { tenantId: broken });
    context.clock.advance(3_600_000);
    expect(await context.JobService.run("closings")).toMatchObject({ processed: 2, errors: [] });
    expect(await itemsOf(broken)).toEqual([["Overage bookings 2026-11", 75]]);
    expect(await billedOf(broken)).toHaveLength(1);
  });
});

describe("a closed month", () => {
  test("U11: is no longer counted in; a correction is possible, audited, and bills nothing again", async () => {
    context.clock.set("2027-01-10T09:00:00.000Z");
    const id = await heavy();
    context.clock.set("2027-02-04T00:10:00.000Z");
    await context.JobService.run("closings");
    const { UsageService } = context;
    const period = "2027-01";
    expect(await codeOf(UsageService.increment(id, "bookings", 1, undefined, period))).toBe("period_closed");
    expect(await codeOf(UsageService.consume(id, "bookings", 1, period))).toBe("period_closed");
    expect(await codeOf(UsageService.increment(id, "rooms", -1, undefined, period))).toBe("period_closed");
    const before = (await context.auditOf(id)).length;
    expect(await UsageService.record(id, "bookings", 40, undefined, period)).toMatchObject({ current: 40 });
    expect(await UsageService.increment(id, "bookings", -1, undefined, period)).toMatchObject({ current: 39 });
    expect(await UsageService.record(id, "rooms", 4, undefined, period)).toMatchObject({ current: 4, daily: { "2027-01-31": 4 } });
    const corrections = (await context.auditOf(id)).slice(before);
    expect(corrections.map(({ action }) => action)).toEqual(["usage.corrected", "usage.corrected", "usage.corrected"]);
    await context.JobService.run("closings");
    expect(await itemsOf(id)).toEqual([["Overage bookings 2027-01", 75]]);
  });
});

describe("usage of a month that is not paid for", () => {
  test("U14: in a trial or after a cancellation is not billed; the level that a gauge has kept from an earlier month is", async () => {
    context.clock.set("2027-03-10T09:00:00.000Z");
    await context.MetricService.create({ id: "seats", name: "Seats", unit: "seats", kind: "gauge", policy: "overage" });
    await context.PlanService.create({
      name: "Seated",
      price: 1_000,
      currency: "USD",
      interval: "monthly",
      limits: { seats: 5 },
      overage: { seats: { unitAmount: 7, per: 1 } },
    });
    const [paying, trial, gone] = [
      (await context.tenant({ plan: "Seated" })).id,
      (await context.tenant({ plan: "Seated", status: "trial", trialEndsAt: "2027-05-01T00:00:00.000Z" })).id,
      (await context.tenant({ plan: "Seated" })).id,
    ];
    for (const id of [paying, trial, gone]) await context.UsageService.record(id, "seats", 9);
    await context.JobService.run("subscriptions");
    await context.SubscriptionService.cancel(gone, false);
    for (const now of ["2027-05-01T00:05:00.000Z", "2027-05-04T00:10:00.000Z"]) {
      context.clock.set(now);
      await context.JobService.run("subscriptions");
    }
    expect(await context.SubscriptionService.get(trial)).toMatchObject({ status: "active", anchorDay: 1 });
    while ((await context.JobService.run("closings")).processed > 0);
    const billed = async (id: string) => (await billedOf(id)).map(({ data }) => (data as JsonObject)["period"]);
    expect([await billed(paying), await billed(trial), await billed(gone)]).toEqual([["2027-03", "2027-04"], [], ["2027-03"]]);
  });
});

describe("a change of plan", () => {
  test("U14: after the end of a month, also twice, leaves the price of what was used above the limits in it", async () => {
    context.clock.set("2027-06-10T09:00:00.000Z");
    const [later, twice, before] = [await heavy(), await heavy(), await heavy()];
    await context.SubscriptionService.upsert(before, { planId: "Pro" });
    context.clock.set("2027-07-02T09:00:00.000Z");
    for (const id of [later, twice]) await context.SubscriptionService.upsert(id, { planId: "Pro" });
    await context.SubscriptionService.upsert(twice, { planId: "Enterprise" });
    context.clock.set("2027-07-04T00:10:00.000Z");
    while ((await context.JobService.run("closings")).processed > 0);
    expect((await Promise.all([later, twice, before].map(billedOf))).map(({ length }) => length)).toEqual([1, 1, 0]);
    expect(await itemsOf(later)).toContainEqual(["Overage bookings 2027-06", 75]);
  });
});

describe("a price of usage above the limit", () => {
  test("B03: makes a version of the plan, names a metric of the catalogue, and keeps the metric from being deleted", async () => {
    const { PlanService, MetricService } = context;
    await MetricService.create({ id: "prints", name: "Prints", unit: "pages", kind: "counter" });
    const plan = await PlanService.update("Metered", { overage: { prints: { unitAmount: 2, per: 100 } } });
    expect(plan).toMatchObject({ planVersion: 2, overage: { bookings: { unitAmount: 25 }, prints: { unitAmount: 2, per: 100 } } });
    expect(await codeOf(MetricService.delete("prints"))).toBe("metric_in_use");
    await expect(PlanService.update("Metered", { overage: { nothing: { unitAmount: 1 } } })).rejects.toMatchObject({
      fields: [{ path: "/overage/nothing", code: "unknown_metric" }],
    });
    await expect(PlanService.update("Metered", { overage: { customDomains: { unitAmount: 1 } } })).rejects.toMatchObject({
      fields: [{ path: "/overage/customDomains", code: "unknown_metric" }],
    });
    expect(await codeOf(PlanService.update("Metered", { overage: { prints: { unitAmount: -1 } } }))).toBe("validation_failed");
  });
});
