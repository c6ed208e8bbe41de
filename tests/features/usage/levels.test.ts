import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codeOf } from "../../support/store.ts";
import { seededRandom } from "../../support/random.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
let names: Map<string, string>;
beforeAll(async () => {
  context = await openTestContext();
  names = new Map();
  for (const [name, bookings, rooms] of [["ash", 91, 0], ["birch", 40, 18], ["cedar", 250, 2], ["dogwood", 0, 0]] as const) {
    const { id } = await context.tenant({ plan: "Trial" });
    names.set(id, name);
    if (bookings > 0) await context.UsageService.increment(id, "bookings", bookings);
    if (rooms > 0) await context.UsageService.record(id, "rooms", rooms);
  }
  await context.JobService.run("usage");
});
afterAll(() => context.close());

type List = typeof context.UsageLevelService.list;
const rows = async (...args: Parameters<List>) =>
  (await context.UsageLevelService.list(...args)).data.map((each) => `${names.get(each.tenantId)} ${each.metric} ${each.percentage}`);

describe("usage across tenants", () => {
  it("U02: is listed with the highest percentage first, and filtered by metric, tenant and percentage", async () => {
    expect(await rows()).toEqual(["cedar bookings 100", "ash bookings 91", "birch rooms 90", "birch bookings 40", "cedar rooms 10"]);
    expect(await rows({ metric: ["rooms"] })).toEqual(["birch rooms 90", "cedar rooms 10"]);
    expect(await rows({ percentageFrom: 80, percentageTo: 100 })).toEqual(["ash bookings 91", "birch rooms 90"]);
    const birch = [...names].find(([, name]) => name === "birch")?.[0] ?? "";
    expect(await rows({ tenantId: [birch] }, "current")).toEqual(["birch rooms 90", "birch bookings 40"]);
    expect(await rows({ period: ["2026-02"] })).toEqual([]);
    expect(await codeOf(context.UsageLevelService.list({ unit: ["rooms"] }))).toBe("invalid_parameter");
  });

  it("U02: is paged by number and by cursor, with totals", async () => {
    const first = await context.UsageLevelService.list({ metric: ["bookings"] }, "-current", { limit: 2 });
    expect(first.pagination).toMatchObject({ page: 1, limit: 2, total: 3, totalPages: 2, hasNext: true });
    expect(first.data.map(({ current }) => current)).toEqual([250, 91]);
    const { nextCursor = "" } = first.pagination;
    const second = await context.UsageLevelService.list({ metric: ["bookings"] }, "-current", { limit: 2, cursor: nextCursor });
    expect(second.data.map(({ current }) => current)).toEqual([40]);
  });

  it("U02: shows the present records, with their versions", async () => {
    const birch = [...names].find(([, name]) => name === "birch")?.[0] ?? "";
    const counted = await context.UsageService.increment(birch, "bookings", 1);
    const { data } = await context.UsageLevelService.list({ metric: ["bookings"], tenantId: [birch] });
    expect(data).toEqual([counted]);
    await context.UsageService.increment(birch, "bookings", -1);
  });

  it("U21: is summed by metric and month with zeros, and equals a recount after random counts, corrections and a deletion", async () => {
    const random = seededRandom("U21 totals");
    const made = await Promise.all(Array.from({ length: 6 }, () => context.tenant({ plan: "Basic" })));
    const months = ["2026-01", "2026-02", "2026-03"];
    for (let i = 0; i < 60; i++) {
      const [id, metric, period] = [random.pick(made).id, random.pick(["bookings", "api_calls"]), random.pick(months)];
      await context.UsageService.record(id, metric, random.below(1_000) / 4, undefined, period);
      if (random.below(10) === 0) await context.JobService.run("usage");
    }
    await context.TenantService.delete(made[0]?.id ?? "");
    await context.JobService.run("usage");
    const recount = new Map<string, { current: number; tenants: number }>();
    for (const { value } of await context.dump("usage")) {
      const { metric, period, current } = value as { readonly metric: string; readonly period: string; readonly current: number };
      const known = recount.get(`${metric} ${period}`) ?? { current: 0, tenants: 0 };
      if (current > 0) recount.set(`${metric} ${period}`, { current: known.current + current, tenants: known.tenants + 1 });
    }
    const totals = await context.UsageLevelService.totals({ from: "2025-12", to: "2026-03" });
    expect(totals.map(({ period }) => period).slice(0, 4)).toEqual(["2025-12", ...months]);
    expect(totals).toHaveLength(6 * 4);
    for (const { metric, period, ...total } of totals.filter(({ metric }) => metric !== "rooms")) {
      expect(total, `seed ${random.seed} ${metric} ${period}`).toEqual(recount.get(`${metric} ${period}`) ?? { current: 0, tenants: 0 });
    }
  });

  it("U21: is summed over at most 120 months of known metrics", async () => {
    const { UsageLevelService: levels } = context;
    expect(await levels.totals({ metric: "rooms" })).toHaveLength(12);
    expect(await codeOf(levels.totals({ metric: "beds" }))).toBe("not_found");
    for (const range of [{ from: "2016-03", to: "2026-03" }, { from: "2026-03", to: "2026-02" }, { from: "1999-01" }, { to: "2028-01" }]) {
      expect(await codeOf(levels.totals(range)), JSON.stringify(range)).toBe("invalid_parameter");
    }
    expect(await levels.totals({ from: "2016-04", to: "2026-03", metric: "rooms" })).toHaveLength(120);
  });
});
