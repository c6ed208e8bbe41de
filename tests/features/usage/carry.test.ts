import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";
import { seededRandom } from "../../support/random.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());
beforeEach(() => context.clock.set("2026-03-10T12:00:00.000Z"));

describe("a gauge", () => {
  it("U01: carries over: a month without a write has the last value, and reading it writes nothing", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.UsageService.record(id, "rooms", 45);
    const april = { current: 45, limit: 60, percentage: 75, period: "2026-04", resetsAt: null, daily: {}, version: null };
    for (const period of ["2026-04", "2027-03"]) {
      expect(await context.UsageService.get(id, "rooms", period)).toMatchObject({ ...april, period });
    }
    expect((await context.UsageService.getAll(id, "2026-04")).find(({ metric }) => metric === "rooms")).toMatchObject(april);
    expect(await context.UsageService.check(id, "rooms", 16, "2026-04")).toMatchObject({ allowed: false, remaining: 15 });
    expect((await context.UsageService.get(id, "rooms", "2026-02"))?.current).toBe(0);
    expect(await context.store.count(`usage:${id}:rooms`)).toBe(1);
  });

  it("U01: continues from its last value with the first write of a month, and a counter from zero", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.UsageService.record(id, "rooms", 45);
    await context.UsageService.increment(id, "bookings", 45);
    context.clock.set("2026-06-01T00:00:00.000Z");
    expect(await context.UsageService.increment(id, "rooms", 5)).toMatchObject({ current: 50, limit: 60, daily: { "2026-06-01": 50 } });
    expect(await context.UsageService.increment(id, "bookings", 5)).toMatchObject({
      current: 5,
      limit: 1_000,
      daily: { "2026-06-01": 5 },
      resetsAt: "2026-07-01T00:00:00.000Z",
    });
    expect((await context.UsageService.get(id, "rooms", "2026-03"))?.current).toBe(45);
    expect((await context.UsageService.get(id, "rooms", "2026-05"))?.current).toBe(45);
  });

  it("U06: counts against its limit on the first day of a month", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.UsageService.record(id, "rooms", 59);
    context.clock.set("2026-04-01T00:00:00.000Z");
    expect(await context.UsageService.consume(id, "rooms", 2)).toMatchObject({ allowed: false, current: 59, limit: 60, remaining: 1 });
    expect(await context.UsageService.consume(id, "rooms", 1)).toMatchObject({ allowed: true, current: 60, limit: 60, remaining: 0 });
    expect(await context.UsageService.isOverLimit(id, "rooms")).toBe(true);
  });

  it("U01: a late write into a past month changes no later month that has a record", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.UsageService.record(id, "rooms", 30);
    context.clock.set("2026-05-02T08:00:00.000Z");
    await context.UsageService.record(id, "rooms", 50);
    await context.UsageService.record(id, "rooms", 34, undefined, "2026-03");
    const months = await Promise.all(["2026-03", "2026-04", "2026-05"].map((period) => context.UsageService.get(id, "rooms", period)));
    expect(months.map((usage) => usage?.current)).toEqual([34, 34, 50]);
  });

  it("U02: all of a month's metrics are read at once, however many months and metrics there are", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.tenant({ id: `${id}0`, plan: "Basic" });
    await context.UsageService.record(`${id}0`, "rooms", 1);
    for (const [i, period] of ["2025-01", "2025-06", "2025-12"].entries()) {
      for (const metric of ["rooms", "users", "bookings"]) await context.UsageService.record(id, metric, 10 + i, undefined, period);
    }
    await context.UsageService.record(id, "users", 0, undefined, "2025-09");
    const currents = async (period: string) => {
      const usage = await context.UsageService.getAll(id, period);
      return Object.fromEntries(
        usage.filter(({ metric }) => ["rooms", "users", "bookings"].includes(metric)).map((u) => [u.metric, u.current]),
      );
    };
    expect(await currents("2025-10")).toEqual({ rooms: 11, users: 0, bookings: 0 });
    expect(await currents("2025-12")).toEqual({ rooms: 12, users: 12, bookings: 12 });
    expect(await currents("2026-02")).toEqual({ rooms: 12, users: 12, bookings: 0 });
  });

  it("U03: every day of a gauge holds its last level, of a counter its own amount", async () => {
    const { id } = await context.tenant();
    for (const [day, amount] of [["10", 5], ["11", 2], ["12", -1]] as const) {
      context.clock.set(`2026-03-${day}T09:00:00.000Z`);
      await context.UsageService.increment(id, "users", amount);
      await context.UsageService.increment(id, "bookings", Math.abs(amount));
    }
    expect(await context.UsageService.get(id, "users")).toMatchObject({
      current: 6,
      daily: { "2026-03-10": 5, "2026-03-11": 7, "2026-03-12": 6 },
    });
    expect((await context.UsageService.get(id, "bookings"))?.daily).toEqual({ "2026-03-10": 5, "2026-03-11": 2, "2026-03-12": 1 });
  });
});

describe("the first writers of a month", () => {
  it("U08: a count with a key, the first of its day, returns the same result however often it is sent", async () => {
    const { id } = await context.tenant();
    await context.UsageService.record(id, "rooms", 5);
    context.clock.set("2026-03-11T12:00:00.000Z");
    const send = () => context.UsageService.increment(id, "rooms", 1, undefined, undefined, { idempotencyKey: "check-in" });
    const first = await send();
    expect(first).toMatchObject({ current: 6, daily: { "2026-03-10": 5, "2026-03-11": 6 } });
    expect(await send()).toEqual(first);
    expect((await context.UsageService.get(id, "rooms"))?.version).toBe(first.version);
  });

  it("U03: concurrent first counts of a day with keys, in 4 processes, each count once and leave the day at its level", async () => {
    const { id } = await context.tenant();
    await context.UsageService.record(id, "rooms", 5);
    context.clock.set("2026-03-11T12:00:00.000Z");
    const stores = await context.racers(4);
    await Promise.all(
      stores.flatMap((store, i) =>
        [1, 2, 3].map((amount) =>
          context.over(store).UsageService.increment(id, "rooms", amount, undefined, undefined, { idempotencyKey: `${i}-${amount}` })
        )
      ),
    );
    expect(await context.UsageService.get(id, "rooms")).toMatchObject({ current: 29, daily: { "2026-03-10": 5, "2026-03-11": 29 } });
  });

  it("U03: lose no amount and carry the level over once, in any order", async () => {
    const random = seededRandom("U03 first writers");
    const stores = await context.racers(8);
    const { id } = await context.tenant();
    let level = 100;
    await context.UsageService.record(id, "storage", level);
    for (let round = 0; round < 10; round++) {
      const months = `${2026 + Math.floor((3 + round) / 12)}-${String((3 + round) % 12 + 1).padStart(2, "0")}`;
      context.clock.set(`${months}-01T00:00:00.000Z`);
      const amounts = stores.map(() => 1 + random.below(50));
      const day = `${months}-01`;
      await Promise.all(stores.map((store, i) => context.over(store).UsageService.increment(id, "storage", amounts[i])));
      level += amounts.reduce((sum, amount) => sum + amount, 0);
      expect(await context.UsageService.get(id, "storage"), `seed ${random.seed}`).toMatchObject({
        current: level,
        daily: { [day]: level },
      });
    }
  });

  it("U03: are not refused while others write to the previous month, and every amount is in its month", async () => {
    const random = seededRandom("U03 month's end");
    const stores = await context.racers(8);
    const { id } = await context.tenant();
    await context.UsageService.record(id, "storage", 1_000);
    context.clock.set("2026-04-01T00:00:00.000Z");
    const sums: Record<string, number> = { "2026-03": 1_000, "2026-04": 0 };
    await Promise.all(stores.map(async (store) => {
      const { UsageService } = context.over(store);
      for (let i = 0; i < 40; i++) {
        const period = random.pick(["2026-03", "2026-04"]);
        const amount = 1 + random.below(9);
        await UsageService.increment(id, "storage", amount, undefined, period);
        sums[period] = (sums[period] ?? 0) + amount;
      }
    }));
    const [march, april] = await Promise.all(["2026-03", "2026-04"].map((period) => context.UsageService.get(id, "storage", period)));
    expect(march?.current, `seed ${random.seed}`).toBe(sums["2026-03"]);
    const carried = (april?.current ?? 0) - (sums["2026-04"] ?? 0);
    expect(carried, `seed ${random.seed}`).toBeGreaterThanOrEqual(1_000);
    expect(carried, `seed ${random.seed}`).toBeLessThanOrEqual(sums["2026-03"] ?? 0);
  });

  it("B07: begin with the limit of the final plan during a plan change", async () => {
    const stores = await context.racers(4);
    const { id } = await context.tenant({ plan: "Basic" });
    for (let month = 4; month <= 9; month++) {
      context.clock.set(`2026-0${month}-01T00:00:00.000Z`);
      const plan = month % 2 === 0 ? "Pro" : "Basic";
      await Promise.all([
        context.TenantService.update(id, { plan }),
        ...stores.map((store) => context.over(store).UsageService.increment(id, "bookings", 1)),
      ]);
      expect(await context.UsageService.get(id, "bookings")).toMatchObject({ current: 4, limit: plan === "Pro" ? 10_000 : 1_000 });
    }
  });

  it("U04: of a tenant that does not exist are refused and leave nothing", async () => {
    expect(await codeOf(context.UsageService.consume("tn_none", "rooms", 1))).toBe("not_found");
    expect(await codeOf(context.UsageService.record("tn_none", "bookings", 1))).toBe("not_found");
    expect((await context.dump("usage")).filter(({ key }) => key.includes("tn_none"))).toEqual([]);
  });
});
