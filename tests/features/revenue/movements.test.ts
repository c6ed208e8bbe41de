import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { movement } from "../../../shared/features/revenue/entity.ts";
import { kindOf, monthsBetween, monthsOfRevenue } from "../../../shared/features/revenue/rules.ts";
import { seededRandom } from "../../support/random.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const movementsOf = async (tenantId: string) =>
  (await context.dump(`movement:${tenantId}`)).map(({ value }) => movement.schema.parse(value)).map(({ kind, amount }) => [kind, amount]);

describe("movements of revenue", () => {
  test.each([
    [0, 0, false, null],
    [10, 10, true, null],
    [0, 10, false, "new"],
    [0, 10, true, "reactivation"],
    [10, 0, true, "churn"],
    [10, 20, true, "expansion"],
    [20, 10, true, "contraction"],
  ])("B18: from %d to %d, with revenue before: %s, is %s", (before, after, hadRevenue, kind) => {
    expect(kindOf(before, after, hadRevenue)).toBe(kind);
  });

  test("B18: each month starts with the sum of all earlier movements, and months without any are listed", () => {
    const sums = [
      { month: "2025-11", kind: "new", sum: "0.10" },
      { month: "2025-12", kind: "expansion", sum: "0.20" },
      { month: "2026-02", kind: "churn", sum: "-0.30" },
      { month: "2026-03", kind: "new", sum: "9" },
    ] as const;
    const none = { new: 0, expansion: 0, contraction: 0, churn: 0, reactivation: 0 };
    expect(monthsOfRevenue(sums, "2025-12", "2026-02")).toEqual([
      { month: "2025-12", ...none, starting: 0.1, expansion: 0.2, ending: 0.3 },
      { month: "2026-01", ...none, starting: 0.3, ending: 0.3 },
      { month: "2026-02", ...none, starting: 0.3, churn: -0.3, ending: 0 },
    ]);
    expect(monthsBetween("2025-11", "2026-02")).toEqual(["2025-11", "2025-12", "2026-01", "2026-02"]);
  });

  it("B18: every step of a tenant's revenue is one movement in the commit that makes it", async () => {
    const { TenantService, SubscriptionService } = context;
    const { id } = await context.tenant({ status: "pending" });
    expect(await movementsOf(id)).toEqual([]);
    const steps = [
      () => TenantService.update(id, { status: "active" }),
      () => TenantService.update(id, { name: "Hotel Aurora" }),
      () => TenantService.update(id, { mrr: 319.95 }),
      () => SubscriptionService.upsert(id, { planId: "Basic" }),
      () => TenantService.suspend(id, "unpaid"),
      () => TenantService.update(id, { plan: "Enterprise" }),
      () => TenantService.unsuspend(id),
      () => TenantService.update(id, { mrr: 0 }),
    ];
    for (const step of steps) {
      context.clock.advance(1_000);
      await step();
    }
    expect(await movementsOf(id)).toEqual([
      ["new", 299],
      ["expansion", 20.95],
      ["contraction", -220.95],
      ["churn", -99],
      ["reactivation", 999],
      ["churn", -999],
    ]);
  });

  it("B18: after a random walk the movements sum to the revenue, and each month's end is the next one's start", async () => {
    const random = seededRandom("B18 movements");
    const { TenantService, SubscriptionService, RevenueService, clock } = context;
    const from = new Date(clock.now()).toISOString().slice(0, 7);
    const ids: string[] = [];
    const steps = [
      async () =>
        void ids.push(
          (await context.tenant({ plan: random.pick(["Trial", "Basic", "Pro"]), status: random.pick(["pending", "trial", "active"]) })).id,
        ),
      () => TenantService.update(random.pick(ids), { mrr: random.below(100_000) / 100 }),
      () => TenantService.update(random.pick(ids), { plan: random.pick(["Basic", "Pro", "Enterprise"]) }),
      () => SubscriptionService.upsert(random.pick(ids), { planId: random.pick(["Basic", "Pro", "Enterprise"]) }),
      () => TenantService.update(random.pick(ids), { status: "active" }),
      () => TenantService.suspend(random.pick(ids), "unpaid"),
      () => TenantService.unsuspend(random.pick(ids)),
      () => TenantService.cancel(random.pick(ids)),
      () => TenantService.reactivate(random.pick(ids)),
      () => random.below(4) === 0 ? TenantService.delete(random.pick(ids)) : null,
    ];
    for (let i = 0; i < 6; i++) await steps[0]?.();
    const atMonthEnd = new Map<string, number>();
    const codes = new Set<string>();
    for (let i = 0; i < 240; i++) {
      codes.add(await codeOf(Promise.resolve(random.pick(steps)())));
      if (i % 40 !== 39) continue;
      atMonthEnd.set(new Date(clock.now()).toISOString().slice(0, 7), await TenantService.calculateTotalMRR());
      clock.advance(31 * 86_400_000);
    }
    expect(codes).not.toContain("internal");
    const to = [...atMonthEnd.keys()].at(-1) ?? from;
    const { data, currency } = await RevenueService.movements({ from, to });
    expect(currency).toBe("USD");
    expect(data.at(-1)?.ending).toBe(await TenantService.calculateTotalMRR());
    for (const [i, month] of data.entries()) expect(month.starting).toBe(i === 0 ? 0 : data[i - 1]?.ending);
    expect((await RevenueService.movements({ from: to, to })).data).toEqual([data.at(-1)]);
  });

  it("B18: a range that is empty or longer than 120 months is refused", async () => {
    const { RevenueService } = context;
    expect((await RevenueService.movements()).data).toHaveLength(12);
    expect((await RevenueService.movements({ from: "2020-01", to: "2029-12" })).data).toHaveLength(120);
    await expect(RevenueService.movements({ from: "2026-02", to: "2026-01" })).rejects.toMatchObject({ code: "invalid_parameter" });
    await expect(RevenueService.movements({ from: "2020-01", to: "2030-01" })).rejects.toMatchObject({ code: "invalid_parameter" });
  });
});
