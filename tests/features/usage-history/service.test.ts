import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { plus } from "../../../shared/features/usage/rules.ts";
import { seededRandom } from "../../support/random.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";
import { batchOf, eventOf } from "../usage-events/support.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => {
  context = await openTestContext();
  await context.MetricService.create({ id: "calls", name: "Calls", unit: "calls", kind: "counter", resolution: "hour" });
});
afterAll(() => context.close());
beforeEach(() => context.clock.set("2026-03-10T12:30:00.000Z"));

const amounts = async (id: string, metric: string, query: Parameters<typeof context.UsageHistoryService.history>[2]) =>
  (await context.UsageHistoryService.history(id, metric, query))?.data.map(({ amount }) => amount);

describe("the history of a metric", () => {
  it("U21: has hours, days and months without gaps, that agree after increments, consumption, events and corrections", async () => {
    const random = seededRandom("U21 hours");
    const { id } = await context.tenant();
    for (let n = 0; n < 25; n++) {
      context.clock.advance(random.below(10 * 3_600_000));
      const amount = 1 + random.below(50);
      await random.pick([
        () => context.UsageService.increment(id, "calls", amount),
        () => context.UsageService.consume(id, "calls", amount),
        () => context.UsageService.record(id, "calls", amount),
        () =>
          context.UsageEventService.ingest(
            batchOf(eventOf(id, `h-${n}`, { amount }, { type: "calls", time: context.clock.iso(-random.below(7) * 86_400_000) })),
          ),
      ])();
    }
    const range = { from: "2026-03-01", to: "2026-03-31" };
    const [hours, days, months] = await Promise.all(
      (["hour", "day", "month"] as const).map((bucket) => amounts(id, "calls", { ...range, bucket })),
    );
    const record = await context.UsageService.get(id, "calls", "2026-03");
    expect([hours?.length, days?.length, months], `seed ${random.seed}`).toEqual([31 * 24, 31, [record?.current]]);
    const byDay = days?.map((_, day) => hours?.slice(24 * day, 24 * day + 24).reduce(plus, 0));
    expect(byDay, `seed ${random.seed}`).toEqual(days);
    // With a zone that is UTC in winter, hours are summed instead of days.
    expect(await amounts(id, "calls", { from: "2026-03-01", to: "2026-03-20", timeZone: "Atlantic/Reykjavik" }), `seed ${random.seed}`)
      .toEqual(days?.slice(0, 20));
  });

  it("U18: in a time zone takes the hours of its days, and is refused where hours are missing or not whole", async () => {
    const { id } = await context.tenant();
    context.clock.set("2026-03-29T22:30:00.000Z");
    await context.UsageService.increment(id, "calls", 3);
    await context.UsageService.increment(id, "api_calls", 3);
    context.clock.set("2026-03-31T10:00:00.000Z");
    const madrid = { from: "2026-03-29", to: "2026-03-30", timeZone: "Europe/Madrid" };
    expect(await context.UsageHistoryService.history(id, "calls", madrid)).toMatchObject({
      timeZone: "Europe/Madrid",
      data: [
        { start: "2026-03-28T23:00:00.000Z", end: "2026-03-29T22:00:00.000Z", amount: 0 },
        { start: "2026-03-29T22:00:00.000Z", end: "2026-03-30T22:00:00.000Z", amount: 3 },
      ],
    });
    expect(await amounts(id, "api_calls", { from: "2026-03-29", to: "2026-03-30" })).toEqual([3, 0]);
    const service = context.UsageHistoryService;
    for (const query of [madrid, { bucket: "hour" as const }]) {
      expect(await codeOf(service.history(id, "api_calls", query))).toBe("invalid_parameter");
    }
    for (const timeZone of ["Asia/Kolkata", "Nowhere/Land", "+01:00"]) {
      expect(await codeOf(service.history(id, "calls", { ...madrid, timeZone })), timeZone).toBe("invalid_parameter");
    }
    await context.MetricService.update("api_calls", { resolution: "hour" });
    await expect(service.history(id, "api_calls", madrid)).rejects.toThrow("must be after 2026-03-29");
    await context.MetricService.update("api_calls", { resolution: null });
  });

  it("U21: of a gauge carries its level into days and months without a record", async () => {
    const { id } = await context.tenant();
    await context.UsageService.record(id, "rooms", 4, undefined, "2025-12");
    await context.UsageService.record(id, "rooms", 7);
    expect(await amounts(id, "rooms", { from: "2026-03-08", to: "2026-03-11" })).toEqual([4, 4, 7, 7]);
    expect(await amounts(id, "rooms", { bucket: "month", from: "2025-11-01", to: "2026-03-31" })).toEqual([0, 4, 4, 4, 7]);
    expect(await codeOf(context.MetricService.create({ id: "g", name: "G", unit: "g", kind: "gauge", resolution: "hour" }))).toBe(
      "validation_failed",
    );
  });

  it("U18: by billing period begins on the anchor day of the subscription", async () => {
    context.clock.set("2026-01-31T08:00:00.000Z");
    const { id } = await context.tenant({ plan: "Pro" });
    await context.UsageService.increment(id, "bookings", 2);
    context.clock.set("2026-03-01T08:00:00.000Z");
    await context.UsageService.increment(id, "bookings", 5);
    const history = await context.UsageHistoryService.history(id, "bookings", {
      bucket: "billing_period",
      from: "2026-01-31",
      to: "2026-03-31",
    });
    expect(history?.data.map(({ start, amount }) => [start.slice(0, 10), amount])).toEqual([["2026-01-31", 2], ["2026-02-28", 5], [
      "2026-03-31",
      0,
    ]]);
  });

  it("U21: of a gauge agrees with its months after a late level of the last month, and leaves out what is reserved", async () => {
    const { UsageService, UsageHistoryService, ReservationService } = context;
    context.clock.set("2026-03-20T08:00:00.000Z");
    const { id } = await context.tenant();
    await UsageService.record(id, "rooms", 20);
    context.clock.set("2026-03-31T23:59:00.000Z");
    await ReservationService.reserve(id, "rooms", 7, 3_600);
    context.clock.set("2026-04-01T00:01:00.000Z");
    await UsageService.record(id, "rooms", 9, undefined, "2026-03");
    for (const from of ["2026-03", "2026-04"]) {
      const history = await UsageHistoryService.history(id, "rooms", { bucket: "month", from: `${from}-01` });
      const months = (await UsageHistoryService.months(id, { from }))?.find(({ metric }) => metric === "rooms")?.months;
      const expected = from === "2026-03" ? [9, 9] : [9];
      expect([history?.data, months].map((data) => data?.map(({ amount }) => amount)), from).toEqual([expected, expected]);
    }
  });

  it("U21: is bounded, and known to the tenant's own users alone", async () => {
    const { id } = await context.tenant();
    const service = context.UsageHistoryService;
    for (
      const query of [{ from: "2020-01-01" }, { from: "2026-03-02", to: "2026-03-01" }, { from: "1999-12-31", to: "2000-01-05" }, {
        to: "2027-04-01",
      }]
    ) {
      expect(await codeOf(service.history(id, "rooms", query)), JSON.stringify(query)).toBe("invalid_parameter");
    }
    expect([await service.history("tn_none", "rooms"), await service.months("tn_none"), await service.forecast("tn_none", "rooms")])
      .toEqual([null, null, null]);
    expect(await codeOf(service.history(id, "no_such"))).toBe("not_found");
    expect((await context.as(userOf(id)).UsageHistoryService.history(id, "rooms"))?.data).toHaveLength(31);
    expect(await context.as(userOf((await context.tenant()).id)).UsageHistoryService.history(id, "rooms").catch(() => null)).toBeNull();
  });
});

describe("all metrics of a tenant", () => {
  it("U21: by month have the amounts of each month, and the level of a gauge where it has no record", async () => {
    const { id } = await context.tenant();
    await context.UsageService.record(id, "rooms", 4, undefined, "2025-06");
    await context.UsageService.record(id, "bookings", 5, undefined, "2026-01");
    await context.UsageService.increment(id, "bookings", 1);
    const months = await context.UsageHistoryService.months(id, { from: "2025-12", to: "2026-03" });
    const of = (metric: string) => months?.find((one) => one.metric === metric)?.months.map(({ amount }) => amount);
    expect([of("bookings"), of("rooms"), of("api_calls")]).toEqual([[0, 5, 0, 1], [4, 4, 4, 0], [0, 0, 0, 0]]);
    expect((await context.UsageHistoryService.months(id))?.[0]?.months.map(({ period }) => period).slice(-2)).toEqual([
      "2026-02",
      "2026-03",
    ]);
    for (const query of [{ from: "2024-03" }, { from: "2026-04" }, { to: "2028-01" }]) {
      expect(await codeOf(context.UsageHistoryService.months(id, query)), JSON.stringify(query)).toBe("invalid_parameter");
    }
  });

  it("U25: have a forecast against the limit of their plan", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    context.clock.set("2026-03-11T12:30:00.000Z");
    await context.UsageService.increment(id, "bookings", 500);
    const forecast = await context.UsageHistoryService.forecast(id, "bookings");
    expect(forecast).toMatchObject({ current: 500, limit: 1_000, basis: { method: "daily_average" } });
    expect(forecast?.projected).toBeGreaterThan(1_000);
    expect(forecast?.exhaustsAt && forecast.exhaustsAt < "2026-04-01").toBe(true);
  });
});
