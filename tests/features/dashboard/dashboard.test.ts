import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { countsByDay, lastDays, tenantNumbers } from "../../../shared/features/dashboard/rules.ts";
import type { StoredTenant } from "../../../shared/features/tenants/service.ts";
import { codeOf } from "../../support/store.ts";
import { seededRandom } from "../../support/random.ts";
import { hotel, openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const DAY_MS = 86_400_000;
const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);

async function allTenants(): Promise<StoredTenant[]> {
  return (await context.dump("tenant")).map(({ value }) => value as unknown as StoredTenant);
}

describe("the rules", () => {
  it("B18: add up tenants and revenue by status and plan, and count only active and trial tenants as revenue", () => {
    const row = (status: string, plan: string, count: number, total: string) => ({ group: [status, plan], count, sum: total });
    const numbers = tenantNumbers([
      row("active", "Pro", 2, "0.30"),
      row("trial", "Basic", 3, "0.60"),
      row("suspended", "Pro", 1, "299"),
      row("cancelled", "Basic", 4, "0"),
    ]);
    expect(numbers).toMatchObject({ tenants: 10, mrr: 0.9 });
    expect(numbers.byStatus.suspended).toEqual({ tenants: 1, mrr: 0 });
    expect(numbers.byStatus.pending).toEqual({ tenants: 0, mrr: 0 });
    expect(numbers.byPlan).toEqual([{ plan: "Basic", tenants: 7, mrr: 0.6 }, { plan: "Pro", tenants: 3, mrr: 0.3 }]);
    expect(tenantNumbers([])).toMatchObject({ tenants: 0, mrr: 0, byPlan: [] });
  });

  it("T06: count every day of the range in UTC, also over the end of a month and in a leap year", () => {
    const nowMs = Date.parse("2028-03-01T00:00:00.000Z");
    expect(lastDays(3, nowMs)).toEqual(["2028-02-28", "2028-02-29", "2028-03-01"]);
    expect(lastDays(1, nowMs - 1)).toEqual(["2028-02-29"]);
    const rows = [{ group: ["2028-02-29"], count: 3, sum: "0" }, { group: ["2028-03-02"], count: 9, sum: "0" }];
    expect(countsByDay(lastDays(3, nowMs), rows).map(({ tenants }) => tenants)).toEqual([0, 3, 0]);
  });
});

describe("the dashboard", () => {
  it("B18: agrees with a count over all tenants after random changes, and the movements of each month sum to its difference", async () => {
    const random = seededRandom("dashboard");
    const created = new Map<string, number>();
    const { TenantService } = context;
    for (let step = 0; step < 60; step++) {
      context.clock.advance(random.below(4 * DAY_MS));
      const tenants = await allTenants();
      const one = tenants[random.below(Math.max(1, tenants.length))];
      if (!one || random.below(3) === 0) {
        const status = random.pick(["active", "trial", "suspended"] as const);
        await context.tenant({
          plan: random.pick(["Basic", "Pro"]),
          ...(status === "suspended" ? { status, suspensionReason: "x" } : { status }),
        });
        const today = context.clock.iso().slice(0, 10);
        created.set(today, (created.get(today) ?? 0) + 1);
        continue;
      }
      const change = random.pick([
        () => TenantService.suspend(one.id, "unpaid"),
        () => TenantService.unsuspend(one.id),
        () => TenantService.update(one.id, { plan: "Enterprise" }),
        () => TenantService.update(one.id, { mrr: random.below(100_000) / 100 }),
        () => TenantService.cancel(one.id),
        () => TenantService.remove(one.id),
      ]);
      const code = await codeOf(change());
      expect(["invalid_transition", "tenant_cancelled"].includes(code) || code.startsWith("no error"), code).toBe(true);
    }
    const tenants = await allTenants();
    const revenue = (of: readonly StoredTenant[]) =>
      sum(of.filter(({ status }) => status === "active" || status === "trial").map(({ mrr }) => Math.round(mrr * 100))) / 100;
    const { tenants: numbers, revenue: { movements }, signUps } = await context.DashboardService.get({ days: 90 });
    expect(numbers).toMatchObject({ tenants: tenants.length, mrr: revenue(tenants) });
    for (const [status, tally] of Object.entries(numbers.byStatus)) {
      const those = tenants.filter((tenant) => tenant.status === status);
      expect([status, tally]).toEqual([status, { tenants: those.length, mrr: revenue(those) }]);
    }
    for (const { plan, ...tally } of numbers.byPlan) {
      const those = tenants.filter((tenant) => tenant.plan === plan);
      expect([plan, tally]).toEqual([plan, { tenants: those.length, mrr: revenue(those) }]);
    }
    expect(movements).toHaveLength(12);
    for (const month of movements) {
      const kinds = [month.new, month.expansion, month.contraction, month.churn, month.reactivation].map((amount) =>
        Math.round(amount * 100)
      );
      expect(month.starting + sum(kinds) / 100).toBeCloseTo(month.ending, 2);
    }
    expect(movements.at(-1)?.ending).toBe(numbers.mrr);
    // The dashboard reckons back from the present revenue, the other service forward from the first movement.
    for (const days of [0, 300, 500]) {
      const then = context.as({ clock: { now: () => context.clock.now() + days * DAY_MS } });
      const [shown, all] = await Promise.all([then.DashboardService.get(), then.RevenueService.movements()]);
      expect(shown.revenue.movements).toEqual(all.data);
    }
    // Deleted tenants still count as sign-ups.
    expect(signUps.days).toHaveLength(90);
    expect(signUps.days.map(({ tenants }) => tenants)).toEqual(signUps.days.map(({ day }) => created.get(day) ?? 0));
    expect(signUps.tenants).toBe(sum(signUps.days.map((each) => each.tenants)));
  });

  it("T06: counts each of 64 sign-ups at the same time once, and none that was refused or repeated", async () => {
    context.clock.advance(200 * DAY_MS);
    const stores = await context.racers(8);
    const create = (i: number) =>
      context.over(stores[i % 8] ?? context.store).TenantService.create(hotel(`signing-${i % 60}`), { idempotencyKey: `sign-${i}` });
    const codes = await Promise.all(Array.from({ length: 64 }, (_, i) => codeOf(create(i))));
    expect(codes.filter((code) => code === "subdomain_taken")).toHaveLength(4);
    await codeOf(create(5));
    await codeOf(create(63));
    const { signUps } = await context.DashboardService.get();
    expect(signUps.tenants).toBe(60);
    expect(signUps.days.at(-1)).toEqual({ day: context.clock.iso().slice(0, 10), tenants: 60 });
  });

  it("U19: names the ten tenants nearest to a limit, and counts those from 80 %", async () => {
    const before = (await context.DashboardService.get()).nearLimits;
    expect(before).toEqual({ fromPercent: 80, tenants: 0, highest: [] });
    for (const usagePercent of [79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 100]) await context.tenant({ usagePercent });
    const { nearLimits } = await context.DashboardService.get();
    expect(nearLimits.tenants).toBe(12);
    expect(nearLimits.highest.map(({ usagePercent }) => usagePercent)).toEqual([100, 90, 89, 88, 87, 86, 85, 84, 83, 82]);
    expect(nearLimits.highest[0]).toMatchObject({ plan: "Pro", name: expect.stringMatching(/^Hotel /) });
  });

  it("U07: counts the alerts that are open, and the subscriptions that are past due", async () => {
    const before = await context.DashboardService.get();
    const { id } = await context.tenant();
    const limit = (await context.UsageService.getAll(id)).find(({ metric }) => metric === "rooms")?.limit ?? 0;
    await context.UsageService.record(id, "rooms", limit);
    const after = await context.DashboardService.get();
    expect(after.openAlerts - before.openAlerts).toBe(2);
    expect(after.pastDueSubscriptions).toBe(before.pastDueSubscriptions);
  });
});
