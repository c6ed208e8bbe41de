import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { movement } from "../../../shared/features/revenue/entity.ts";
import type { StoredTenant } from "../../../shared/features/tenants/service.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const DAY = 86_400_000;

const movementsOf = async (tenantId: string) =>
  (await context.dump(`movement:${tenantId}`)).map(({ value }) => movement.schema.parse(value)).map(({ kind, amount }) => [kind, amount]);
const tenantOf = async (id: string) => await context.TenantService.get(id) as StoredTenant;
const totals =
  async () => [await context.TenantService.calculateTotalMRR(), (await context.RevenueService.movements()).data.at(-1)?.ending];

/** Every way in which a subscription ends, and is live again. */
const ENDS = {
  "a cancellation at once": (id: string) => context.SubscriptionService.cancel(id, false),
  "a status that is set": (id: string) => context.SubscriptionService.upsert(id, { status: "cancelled" }),
  "the tenant's cancellation": (id: string) => context.TenantService.cancel(id),
  "the end of its period": async (id: string) => {
    const { currentPeriodEnd } = await context.SubscriptionService.cancel(id);
    await context.SubscriptionService.upsert(id, { invoicedUntil: currentPeriodEnd });
    context.clock.set(currentPeriodEnd);
    await context.JobService.run("subscriptions");
  },
} as const;
const RESUMES = {
  "a reactivation": (id: string) => context.SubscriptionService.reactivate(id),
  "a status that is set": (id: string) => context.SubscriptionService.upsert(id, { status: "active" }),
  "the tenant's reactivation": (id: string) => context.TenantService.reactivate(id),
} as const;

describe("the revenue of a subscription that ends", () => {
  const ways = Object.entries(ENDS).flatMap(([end, stop]) =>
    Object.entries(RESUMES)
      .filter(([back]) => (end === "the tenant's cancellation") === (back === "the tenant's reactivation"))
      .map(([back, resume]) => [end, back, stop, resume] as const)
  );
  test.each(ways)("B18: by %s is churn in the commit of its end, and returns with %s", async (_, _back, stop, resume) => {
    const { id } = await context.tenant();
    context.clock.advance(DAY);
    await stop(id);
    expect(await tenantOf(id)).toMatchObject({ mrr: 0, mrrSource: "plan" });
    expect(await movementsOf(id)).toEqual([["new", 299], ["churn", -299]]);
    context.clock.advance(DAY);
    await resume(id);
    expect(await tenantOf(id)).toMatchObject({ mrr: 299, status: "active" });
    expect(await movementsOf(id)).toEqual([["new", 299], ["churn", -299], ["reactivation", 299]]);
    const [total, ending] = await totals();
    expect(total).toBe(ending);
  });

  test("B18: stays 0 while the tenant is suspended, cancelled and reactivated without it, and is the sold version's afterwards", async () => {
    const plan = { name: "Grandfathered", price: 10_000, currency: "USD", interval: "monthly", limits: {} } as const;
    await context.PlanService.create(plan);
    const { id } = await context.tenant({ plan: plan.name });
    await context.PlanService.update(plan.name, { price: 50_000 });
    await context.SubscriptionService.cancel(id, false);
    await context.TenantService.suspend(id, "unpaid");
    await context.TenantService.unsuspend(id);
    expect(await tenantOf(id)).toMatchObject({ status: "active", mrr: 0 });
    await context.TenantService.cancel(id);
    await context.TenantService.reactivate(id);
    expect(await tenantOf(id)).toMatchObject({ status: "active", mrr: 100 });
    context.clock.advance(1);
    expect((await movementsOf(id)).map(([, amount]) => Number(amount)).reduce((a, b) => a + b)).toBe(100);
  });

  test("B18: stays if it is explicit", async () => {
    const { id } = await context.tenant({ mrr: 77.5 });
    await context.SubscriptionService.cancel(id, false);
    expect(await tenantOf(id)).toMatchObject({ mrr: 77.5, mrrSource: "explicit" });
    expect(await movementsOf(id)).toEqual([["new", 77.5]]);
  });

  test("B18: of a trial is churn with the suspension at its end; a tenant that is created as cancelled has none", async () => {
    const plan = { name: "TryRevenue", price: 29_900, currency: "USD", interval: "monthly", limits: {}, trialDays: 14 } as const;
    await context.PlanService.create(plan);
    const { id } = await context.tenant({ plan: plan.name, status: "trial" });
    await context.SubscriptionService.cancel(id);
    context.clock.advance(14 * DAY);
    await context.JobService.run("subscriptions");
    expect(await tenantOf(id)).toMatchObject({ status: "suspended", mrr: 0 });
    expect(await movementsOf(id)).toEqual([["new", 299], ["churn", -299]]);
    const imported = await context.tenant({ status: "cancelled" });
    expect(imported.mrr).toBe(0);
    expect((await context.TenantService.reactivate(imported.id))?.mrr).toBe(299);
  });

  test.each(
    [
      ["suspended", (id: string) => context.TenantService.unsuspend(id)],
      ["cancelled", (id: string) => context.TenantService.reactivate(id)],
    ] as const,
  )("B18: the first revenue of a tenant that is created as %s is new, and later it is a reactivation", async (status, back) => {
    const { id } = await context.tenant(status === "suspended" ? { status, suspensionReason: "an import" } : { status });
    await back(id);
    context.clock.advance(1);
    await context.TenantService.suspend(id, "unpaid");
    context.clock.advance(1);
    await context.TenantService.unsuspend(id);
    expect(await movementsOf(id)).toEqual([["new", 299], ["churn", -299], ["reactivation", 299]]);
  });

  test("B18: of a tenant that is deleted is in no sum", async () => {
    const [before] = await totals();
    const { id } = await context.tenant();
    await context.SubscriptionService.cancel(id, false);
    await context.TenantService.delete(id);
    expect(await totals()).toEqual([before, before]);
  });
});
