import { afterAll, beforeAll, expect, test } from "vitest";
import { monthlyRevenue } from "../../../shared/core/money.ts";
import { entitlements } from "../../../shared/features/entitlements/entity.ts";
import { invoice } from "../../../shared/features/invoices/entity.ts";
import { seededRandom } from "../../support/random.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const ROUNDS = 6;

const run = async () => (await context.JobService.run("subscriptions")).processed;
const invoicesOf = async (id: string) => (await context.dump(`invoice:${id}`)).map(({ value }) => invoice.schema.parse(value));
const subscriptionOf = async (id: string) => {
  const subscription = await context.SubscriptionService.get(id);
  if (!subscription) throw new Error("the subscription is gone");
  return subscription;
};

async function settle(id: string): Promise<void> {
  for (let processed = 1; processed > 0;) {
    processed = await run();
    for (const { id: invoiceId, status } of await invoicesOf(id)) {
      if (status === "pending") await context.InvoiceService.markPaid(id, invoiceId);
    }
  }
}

test("B07: plan changes, the renewal, a payment, a suspension and grants at the same instant charge the last plan once", async () => {
  const random = seededRandom("billing races");
  const { SubscriptionService, TenantService, InvoiceService, GrantService, PlanService } = context;
  for (let round = 0; round < ROUNDS; round++) {
    const { id } = await context.tenant({ plan: "Pro" });
    await run();
    const [first] = await invoicesOf(id);
    const { currentPeriodEnd } = await subscriptionOf(id);
    // In another round of the dunning the unpaid invoice would suspend the tenant.
    await InvoiceService.markPaid(id, first?.id ?? "");
    context.clock.set(currentPeriodEnd);
    const extra = await InvoiceService.create(id, {
      subscriptionId: (await subscriptionOf(id)).id,
      lineItems: [{ description: "Setup", unitAmount: 700 }],
    });
    const acts = [
      run,
      run,
      () => SubscriptionService.upsert(id, { planId: random.pick(["Basic", "Enterprise"]) }),
      () => TenantService.update(id, { plan: random.pick(["Basic", "Enterprise"]) }),
      () => InvoiceService.markPaid(id, extra.id),
      () => TenantService.suspend(id, "a race"),
      () => TenantService.unsuspend(id),
      () => GrantService.create(id, { kind: "limit", key: "rooms", value: 1 }),
      () => SubscriptionService.cancel(id, false),
      () => SubscriptionService.reactivate(id),
    ];
    const order = [...acts].sort(() => random.below(3) - 1);
    const codes = await Promise.all(order.map((act) => codeOf(Promise.resolve(act()))));
    expect(codes, `round ${round}`).not.toContain("internal");
    await TenantService.unsuspend(id);
    await SubscriptionService.reactivate(id);
    await settle(id);
    const subscription = await subscriptionOf(id);
    const tenant = await TenantService.get(id);
    const plan = await PlanService.get(subscription.planId);
    if (!plan || !tenant) throw new Error("the plan or tenant is gone");
    expect(tenant).toMatchObject({ plan: plan.id, status: "active", mrr: monthlyRevenue(plan) });
    expect(subscription).toMatchObject({ status: "active", currentPeriodStart: currentPeriodEnd, unpaidInvoices: [] });
    const pending = subscription.pendingItems.reduce((sum, { amount }) => sum + amount, 0);
    const charged = (await invoicesOf(id)).reduce((sum, { total }) => sum + total, 0) + pending;
    expect(charged, `round ${round}: ${codes.join(" ")}`).toBe(29_900 + 700 + plan.price);
    const stored = entitlements.schema.parse((await context.store.get(`entitlements:${id}`))?.value);
    expect(stored).toMatchObject({ active: true, planId: plan.id, planVersion: subscription.planVersion });
    const carried = (await context.dump("outbox")).flatMap(({ tenantId, value }) => {
      const { entitlements: carried } = (value as { readonly data: { readonly entitlements?: { readonly revision: number } } }).data;
      return tenantId === id && carried ? [carried.revision] : [];
    });
    expect([...new Set(carried)].toSorted((a, b) => a - b)).toEqual(Array.from({ length: stored.revision }, (_, i) => i + 1));
    const month = (await context.RevenueService.movements()).data.at(-1);
    expect(month?.ending).toBe(await TenantService.calculateTotalMRR());
  }
  const numbers = (await context.dump("invoice")).map(({ value }) => invoice.schema.parse(value).number).toSorted();
  const countOf = (year: string) => numbers.filter((number) => number.startsWith(`INV-${year}-`)).length;
  const years = [...new Set(numbers.map((number) => number.slice(4, 8)))];
  const expected = years.flatMap((year) =>
    Array.from({ length: countOf(year) }, (_, i) => `INV-${year}-${String(i + 1).padStart(6, "0")}`)
  );
  expect(numbers).toEqual(expected);
}, 120_000);

test("T10: a tenant that is deleted while it is renewed, paid, moved and suspended leaves nothing but what is retained", async () => {
  const random = seededRandom("deletion races");
  const { SubscriptionService, TenantService, InvoiceService, GrantService } = context;
  for (let round = 0; round < ROUNDS; round++) {
    const { id } = await context.tenant({ plan: "Pro" });
    await run();
    const [first] = await invoicesOf(id);
    context.clock.set((await subscriptionOf(id)).currentPeriodEnd);
    const acts = [
      run,
      () => TenantService.delete(id),
      () => SubscriptionService.upsert(id, { planId: "Basic" }),
      () => InvoiceService.markPaid(id, first?.id ?? ""),
      () => TenantService.suspend(id, "a race"),
      () => GrantService.create(id, { kind: "limit", key: "rooms", value: 1 }),
      () => SubscriptionService.cancel(id, false),
    ];
    const codes = await Promise.all([...acts].sort(() => random.below(3) - 1).map((act) => codeOf(Promise.resolve(act()))));
    expect(codes, `round ${round}`).not.toContain("internal");
    const left = (await context.dump()).filter(({ tenantId }) => tenantId === id).map(({ key }) => key.split(":")[0]);
    expect([...new Set(left)].toSorted()).toEqual(["audit", "invoice", "outbox"]);
    const month = (await context.RevenueService.movements()).data.at(-1);
    expect(month?.ending).toBe(await TenantService.calculateTotalMRR());
  }
}, 120_000);
