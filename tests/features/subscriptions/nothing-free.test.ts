import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SelfServicePlans } from "../../../shared/core/platform.ts";
import { createBackend, loadServices } from "../../../shared/container.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
let servicesOf: Awaited<ReturnType<typeof loadServices>>;
beforeAll(async () => {
  context = await openTestContext();
  servicesOf = await loadServices();
  const terms = { currency: "USD", limits: {} } as const;
  await context.PlanService.create({ ...terms, name: "Yearly", price: 120_000, interval: "yearly" });
  await context.PlanService.create({ ...terms, name: "Monthly", price: 30_000, interval: "monthly" });
});
afterAll(() => context.close());

const DAY = 86_400_000;
const run = async () => {
  while ((await context.JobService.run("subscriptions")).processed > 0);
};
const subscriptionOf = async (id: string) => {
  const subscription = await context.SubscriptionService.get(id);
  if (!subscription) throw new Error("the subscription is gone");
  return subscription;
};
const invoicesOf = async (id: string) => (await context.InvoiceService.list(id, {}, "issuedAt")).data;
const pay = async (id: string) => {
  for (const { id: invoiceId, status } of await invoicesOf(id)) {
    if (status === "pending") await context.InvoiceService.markPaid(id, invoiceId);
  }
};

/** The services of the tenant's owner on a platform with a setting. */
async function owner(tenantId: string, selfServicePlans: SelfServicePlans) {
  await context.PlatformSettingsService.update({ selfServicePlans });
  const backend = createBackend({ store: context.store, clock: context.clock, logger: silentLogger });
  const user = { actor: { type: "user", id: "user-1" }, tenantId, role: "owner" } as const;
  return servicesOf(backend.bind({ ...userOf(tenantId), ...user, requestId: "req_test", clock: context.clock })).SubscriptionService;
}

/** A tenant whose present period is free, because it did not pay the one before and was suspended. */
async function suspendedForFree(plan = "Monthly") {
  const { id } = await context.tenant({ plan });
  await run();
  for (let day = 0; day < 32; day++) {
    context.clock.advance(DAY);
    await run();
  }
  expect(await subscriptionOf(id)).toMatchObject({ status: "past_due", freeUntil: (await subscriptionOf(id)).currentPeriodEnd });
  expect(await invoicesOf(id)).toHaveLength(1);
  return id;
}

describe("a period that is free because of a suspension", () => {
  test("B21: ends with the payment: a tenant that always pays late pays for all the time in which it is live", async () => {
    const id = await suspendedForFree();
    let liveDays = 0;
    for (let day = 0; day < 200; day++) {
      context.clock.advance(DAY);
      await run();
      const { status } = await context.TenantService.get(id) ?? {};
      if (status === "active") liveDays++;
      const { freeUntil = "", currentPeriodEnd } = await subscriptionOf(id);
      // It pays what it must as soon as its period is free.
      if (status === "suspended" && freeUntil >= currentPeriodEnd) await pay(id);
    }
    const invoiced = (await invoicesOf(id)).slice(1).reduce((sum, { total }) => sum + total, 0);
    expect(invoiced).toBeGreaterThanOrEqual(Math.floor(liveDays / 31) * 30_000);
  });

  test.each([
    ["unsuspension", (id: string) => context.TenantService.unsuspend(id)],
    ["a status that is set", (id: string) => context.TenantService.update(id, { status: "active" })],
    ["the payment", pay],
    ["a cancellation and reactivation of the tenant", async (id: string) => {
      await context.TenantService.cancel(id);
      await context.TenantService.reactivate(id);
    }],
    ["a reactivation of the subscription after that of the tenant", async (id: string) => {
      await context.SubscriptionService.cancel(id, false);
      await context.TenantService.unsuspend(id);
      await context.SubscriptionService.reactivate(id);
    }],
  ])("B21: ends with %s, and the paid period that begins is invoiced at once", async (_, back) => {
    const id = await suspendedForFree();
    await back(id);
    const now = context.clock.iso();
    expect(await subscriptionOf(id)).toMatchObject({ currentPeriodStart: now, nextBillingAt: now });
    await run();
    const after = await subscriptionOf(id);
    expect(after.invoicedUntil).toBe(after.currentPeriodEnd);
    expect((await invoicesOf(id)).map(({ total }) => total)).toEqual([30_000, 30_000]);
  });

  test("B21: of a year does not make the first month free when the plan changes with the activation", async () => {
    const { id } = await context.tenant({ plan: "Yearly", status: "pending" });
    context.clock.advance(366 * DAY);
    await run();
    await context.TenantService.update(id, { plan: "Monthly", status: "active" });
    await run();
    expect((await invoicesOf(id)).map(({ total }) => total)).toEqual([30_000]);
    context.clock.advance(DAY);
    const { pendingItems } = await context.SubscriptionService.upsert(id, { planId: "Basic" });
    expect(pendingItems).toHaveLength(2);
  });
});

describe("a subscription that was cancelled before its first paid period", () => {
  test("B21: is paid from its reactivation on, if its tenant was activated meanwhile", async () => {
    const { id } = await context.tenant({ plan: "Monthly", status: "pending" });
    await context.SubscriptionService.cancel(id, false);
    await context.TenantService.update(id, { status: "active" });
    await context.SubscriptionService.reactivate(id);
    await run();
    expect((await invoicesOf(id)).map(({ total }) => total)).toEqual([30_000]);
  });

  test("B10: keeps the free rest of its trial", async () => {
    const { id } = await context.tenant({ plan: "Monthly", status: "trial", trialEndsAt: context.clock.iso(10 * DAY) });
    await context.TenantService.update(id, { status: "active" });
    const before = await subscriptionOf(id);
    await context.SubscriptionService.cancel(id, false);
    await context.SubscriptionService.reactivate(id);
    expect(await subscriptionOf(id)).toMatchObject({ status: "active", currentPeriodEnd: before.currentPeriodEnd });
    await run();
    expect(await invoicesOf(id)).toEqual([]);
  });
});

describe("a period that the platform sets", () => {
  const paid = async () => {
    const { id } = await context.tenant({ plan: "Monthly" });
    await run();
    await pay(id);
    return id;
  };

  test.each([3, -3])("B06: %d days longer is still paid, and the next one has the next invoice", async (days) => {
    const id = await paid();
    const end = new Date(Date.parse((await subscriptionOf(id)).currentPeriodEnd) + days * DAY).toISOString();
    await context.SubscriptionService.upsert(id, { currentPeriodEnd: end });
    await run();
    expect(await invoicesOf(id)).toHaveLength(1);
    expect(await subscriptionOf(id)).toMatchObject({ invoicedUntil: end, nextBillingAt: end });
    context.clock.set(end);
    await run();
    expect((await invoicesOf(id)).map(({ issuedAt }) => issuedAt).at(-1)).toBe(end);
  });

  test("B06: cannot be invoiced beyond its end, which the next renewal would forget", async () => {
    const id = await paid();
    const until = "2099-01-01T00:00:00.000Z";
    expect(await codeOf(context.SubscriptionService.upsert(id, { invoicedUntil: until }))).toBe("validation_failed");
    await context.store.del(`subscription:${id}`);
    expect(await codeOf(context.SubscriptionService.upsert(id, { invoicedUntil: until }))).toBe("validation_failed");
    const imported = await context.SubscriptionService.upsert(id, { invoicedUntil: until, currentPeriodEnd: until });
    expect(imported).toMatchObject({ anchorDay: 1, nextBillingAt: until });
  });

  test("B09: of a cancelled subscription that is set to active after its end begins then, and the time between is not charged", async () => {
    const id = await paid();
    await context.SubscriptionService.cancel(id, false);
    context.clock.advance(100 * DAY);
    await context.SubscriptionService.upsert(id, { status: "active" });
    await run();
    expect((await invoicesOf(id)).map(({ issuedAt }) => issuedAt).slice(1)).toEqual([context.clock.iso()]);
  });
});

describe("a plan change by the tenant's owner", () => {
  test("CP10: after a migration with the next period gives back what was paid, not the price of the next period", async () => {
    const { id: plan } = await context.PlanService.create({
      name: "Moved",
      price: 30_000,
      currency: "USD",
      interval: "monthly",
      limits: {},
    });
    const { id } = await context.tenant({ plan });
    await run();
    await pay(id);
    await context.PlanService.update(plan, { price: 360_000, interval: "yearly" });
    const { id: migration } = await context.PlanMigrationService.create({ planId: plan, mode: "next_period" });
    await context.PlanMigrationService.start(migration);
    for (let i = 0; i < 3; i++) await context.JobService.run("plan-migrations");
    expect(await subscriptionOf(id)).toMatchObject({ planVersion: 2, periodPrice: { price: 30_000, interval: "monthly" } });
    const { pendingItems } = await (await owner(id, "downgrade")).upsert(id, { planId: "Basic" });
    expect(pendingItems.map(({ amount }) => amount)).toEqual([-30_000, 9_900]);
  });

  test("CP10: a migration with the next period invoices a period that is not invoiced yet at its old price, and the next at the new", async () => {
    const { id: plan } = await context.PlanService.create({
      name: "Later",
      price: 30_000,
      currency: "USD",
      interval: "monthly",
      limits: {},
    });
    const { id } = await context.tenant({ plan });
    await context.PlanService.update(plan, { price: 50_000 });
    const { id: migration } = await context.PlanMigrationService.create({ planId: plan, mode: "next_period" });
    await context.PlanMigrationService.start(migration);
    for (let i = 0; i < 3; i++) await context.JobService.run("plan-migrations");
    await run();
    await pay(id);
    context.clock.set((await subscriptionOf(id)).currentPeriodEnd);
    await run();
    expect((await invoicesOf(id)).map(({ total }) => total)).toEqual([30_000, 50_000]);
    expect(await subscriptionOf(id)).not.toHaveProperty("periodPrice");
  });

  test("R11: to a cheaper plan compares with what the tenant pays, not with what its plan costs today", async () => {
    const terms = { currency: "USD", interval: "monthly", limits: {} } as const;
    await context.PlanService.create({ ...terms, name: "Repriced", price: 20_000 });
    const { id } = await context.tenant({ plan: "Repriced" });
    await context.PlanService.update("Repriced", { price: 90_000 });
    expect(await codeOf((await owner(id, "downgrade")).upsert(id, { planId: "Monthly" }))).toBe("plan_change_forbidden");
    await context.PlanService.update("Repriced", { price: 100 });
    expect(await (await owner(id, "downgrade")).upsert(id, { planId: "Basic" })).toMatchObject({ planId: "Basic" });
  });

  test("B21: a reactivation does not hide that an invoice is overdue", async () => {
    const { id } = await context.tenant({ plan: "Monthly" });
    await run();
    context.clock.advance(15 * DAY);
    await run();
    await context.SubscriptionService.cancel(id, false);
    expect(await (await owner(id, "any")).reactivate(id)).toMatchObject({ status: "past_due" });
    await pay(id);
    expect(await subscriptionOf(id)).toMatchObject({ status: "active" });
  });
});
