import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBackend, loadServices } from "../../../shared/container.ts";
import type { SelfServicePlans } from "../../../shared/core/platform.ts";
import { JobService } from "../../../shared/features/jobs/service.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
let servicesOf: Awaited<ReturnType<typeof loadServices>>;
beforeAll(async () => {
  context = await openTestContext();
  servicesOf = await loadServices();
});
afterAll(() => context.close());

const DAY = 86_400_000;

/** A tenant whose present period is invoiced: ten days of it are over. */
async function tenDaysIn(data: Parameters<typeof context.tenant>[0] = {}) {
  const tenant = await context.tenant(data);
  const { currentPeriodEnd } = await subscriptionOf(tenant.id);
  await context.SubscriptionService.upsert(tenant.id, { invoicedUntil: currentPeriodEnd });
  context.clock.advance(10 * DAY);
  return tenant;
}

async function subscriptionOf(id: string) {
  const subscription = await context.SubscriptionService.get(id);
  if (!subscription) throw new Error("the subscription is gone");
  return subscription;
}

async function tenantOf(id: string) {
  const tenant = await context.TenantService.get(id);
  if (!tenant) throw new Error("the tenant is gone");
  return tenant;
}

/** The preview by one of the tenant's own users. */
async function asOwner(tenantId: string, selfServicePlans: SelfServicePlans) {
  await context.PlatformSettingsService.update({ selfServicePlans });
  const backend = createBackend({ store: context.store, clock: context.clock, logger: silentLogger });
  const owner = { ...userOf(tenantId), role: "owner", requestId: "req_test", clock: context.clock };
  return servicesOf(backend.bind({ ...owner, actor: { type: "user", id: "user-1" }, tenantId })).SubscriptionService;
}

describe("a plan change", () => {
  test("B11: adds the same items through the subscription and through the tenant, and leaves the period", async () => {
    const [one, other] = [await context.tenant(), await context.tenant()];
    for (const { id } of [one, other]) {
      await context.SubscriptionService.upsert(id, { invoicedUntil: (await subscriptionOf(id)).currentPeriodEnd });
    }
    context.clock.advance(10 * DAY);
    const before = await subscriptionOf(one.id);
    await context.SubscriptionService.upsert(one.id, { planId: "Enterprise" });
    await context.TenantService.update(other.id, { plan: "Enterprise" });
    const [a, b] = [await subscriptionOf(one.id), await subscriptionOf(other.id)];
    expect(a.pendingItems.map(({ kind, amount }) => [kind, amount > 0])).toEqual([["proration", false], ["proration", true]]);
    expect(a.pendingItems.map(({ amount }) => amount)).toEqual(b.pendingItems.map(({ amount }) => amount));
    expect(a).toMatchObject({ currentPeriodEnd: before.currentPeriodEnd, nextBillingAt: before.currentPeriodEnd, status: "active" });
  });

  test("B16: changes no invoice that is issued; the next one has the credit", async () => {
    const { id } = await tenDaysIn();
    const { id: invoiceId } = await context.InvoiceService.create(id, { lineItems: [{ description: "Pro", unitAmount: 29_900 }] });
    const issued = await context.InvoiceService.get(id, invoiceId);
    await context.SubscriptionService.upsert(id, { planId: "Basic" });
    expect(await context.InvoiceService.get(id, invoiceId)).toEqual(issued);
    expect((await subscriptionOf(id)).pendingItems.map(({ amount }) => Math.sign(amount))).toEqual([-1, 1]);
  });

  test("B11: with a period in the same request credits the rest of the old period, and then has the new one", async () => {
    const { id } = await tenDaysIn();
    const period = { currentPeriodStart: context.clock.iso(), currentPeriodEnd: context.clock.iso(20 * DAY) };
    const after = await context.SubscriptionService.upsert(id, { planId: "Enterprise", ...period });
    expect(after).toMatchObject({ ...period, planId: "Enterprise" });
    // The new period is charged by its invoice.
    expect(after.pendingItems.map(({ amount }) => amount > 0)).toEqual([false]);
    expect(after.nextBillingAt).toBe(period.currentPeriodStart);
  });

  test("B13: keeps the usage that is recorded already, and it stays visible", async () => {
    const { id } = await tenDaysIn();
    await context.UsageService.increment(id, "bookings", 1_500);
    const before = await context.UsageService.get(id, "bookings");
    await context.SubscriptionService.upsert(id, { planId: "Basic" });
    const after = await context.UsageService.get(id, "bookings");
    expect(after).toMatchObject({ current: 1_500, limit: 1_000, percentage: 100, daily: before?.daily });
    expect((await context.UsageService.check(id, "bookings", 1)).allowed).toBe(false);
  });
});

describe("a preview", () => {
  test("B11: is what the change then does, and writes nothing", async () => {
    for (const planId of ["Basic", "Enterprise"]) {
      const { id } = await tenDaysIn({ mrr: 250 });
      const before = [await context.dump(), await context.auditOf(id)];
      const preview = await context.SubscriptionService.preview(id, { planId });
      expect([await context.dump(), await context.auditOf(id)]).toEqual(before);
      const after = await context.SubscriptionService.upsert(id, { planId });
      expect(after.pendingItems).toEqual(preview.pendingItems);
      expect([after.planId, after.planVersion, after.updatedAt]).toEqual([preview.planId, preview.planVersion, preview.effectiveAt]);
      expect([preview.mrr.before, preview.mrr.after]).toEqual([250, (await tenantOf(id)).mrr]);
      context.clock.set(preview.nextInvoice?.date ?? "");
      await new JobService(createBackend({ ...context, logger: silentLogger }).bind(systemContext(context.clock, "req_jobs", "jobs")))
        .run("subscriptions");
      const [invoice] = (await context.InvoiceService.list(id)).data;
      expect([invoice?.issuedAt, invoice?.amount, invoice?.lineItems]).toEqual(
        [preview.nextInvoice?.date, preview.nextInvoice?.total, preview.nextInvoice?.lineItems],
      );
    }
  });

  test("B11: names the features that are lost, the limits that are lowered and the quotas that are exceeded", async () => {
    const { id } = await tenDaysIn({ customDomain: "stay.preview.example" });
    await context.UsageService.record(id, "rooms", 75);
    await context.UsageService.record(id, "users", 10);
    const preview = await context.SubscriptionService.preview(id, { planId: "Basic" });
    expect(preview).toMatchObject({
      planId: "Basic",
      startsPeriod: false,
      mrr: { before: 299, after: 99 },
      entitlementsLost: ["api", "channel-manager", "custom-domain", "reports", "webhooks"],
      quotasExceeded: [{ metric: "rooms", current: 75, limit: 60 }, { metric: "customDomains", current: 1, limit: 0 }],
    });
    expect(preview.limitsLowered).toContainEqual({ metric: "rooms", from: 500, to: 60 });
    const raised = await context.SubscriptionService.preview(id, { planId: "Enterprise" });
    expect([raised.entitlementsLost, raised.limitsLowered, raised.quotasExceeded]).toEqual([["email-support"], [], []]);
  });

  test("B11: keeps what a grant gives the tenant", async () => {
    const { id } = await tenDaysIn();
    await context.GrantService.create(id, { kind: "feature", key: "api", value: true, source: "grant", reason: "Promised" });
    await context.GrantService.create(id, { kind: "limit", key: "rooms", value: 40, source: "grant", reason: "Promised" });
    const preview = await context.SubscriptionService.preview(id, { planId: "Basic" });
    expect(preview.entitlementsLost).toEqual(["channel-manager", "custom-domain", "reports", "webhooks"]);
    expect(preview.limitsLowered).toContainEqual({ metric: "rooms", from: 540, to: 100 });
  });

  test("B11: compares with the version that the tenant was sold", async () => {
    const limits = { rooms: 20 };
    await context.PlanService.create({ name: "Silver", price: 5_000, currency: "USD", interval: "monthly", limits, features: ["api"] });
    const { id } = await tenDaysIn({ plan: "Silver" });
    await context.PlanService.update("Silver", { features: [], price: 9_000 });
    expect((await context.SubscriptionService.preview(id, { planId: "Basic" })).entitlementsLost).toEqual(["api"]);
  });

  test("B11: shows the next invoice of each state", async () => {
    const invoice = async (id: string, planId: string) => (await context.SubscriptionService.preview(id, { planId })).nextInvoice;
    const fresh = await context.tenant();
    // The first period has no invoice yet, and will be charged the new plan.
    expect(await invoice(fresh.id, "Basic")).toMatchObject({ date: context.clock.iso(), total: 9_900 });
    const trial = await context.tenant({ plan: "Trial", status: "trial" });
    expect(await invoice(trial.id, "Pro")).toMatchObject({ date: trial.trialEndsAt, total: 29_900, lineItems: [{ kind: "plan" }] });
    const ending = await tenDaysIn();
    await context.SubscriptionService.cancel(ending.id);
    const last = await invoice(ending.id, "Enterprise");
    expect(last?.lineItems.map(({ kind }) => kind)).toEqual(["proration", "proration"]);
    expect(await invoice(ending.id, "Basic")).toMatchObject({ total: 0 });
  });

  test("B11: is refused like the change, to the platform and to the tenant's own users", async () => {
    const { id } = await tenDaysIn();
    expect(await codeOf(context.SubscriptionService.preview(id, { planId: "None" }))).toBe("validation_failed");
    expect(await codeOf(context.SubscriptionService.preview(id, { planId: "Pro" }))).toBe("validation_failed");
    expect(await codeOf((await asOwner(id, "none")).preview(id, { planId: "Basic" }))).toBe("plan_change_forbidden");
    expect(await codeOf((await asOwner(id, "downgrade")).preview(id, { planId: "Enterprise" }))).toBe("plan_change_forbidden");
    expect(await (await asOwner(id, "downgrade")).preview(id, { planId: "plan:Basic" })).toMatchObject({ planId: "Basic" });
    await context.SubscriptionService.cancel(id, false);
    expect(await codeOf(context.SubscriptionService.preview(id, { planId: "Basic" }))).toBe("subscription_cancelled");
    expect(await codeOf(context.SubscriptionService.preview("tn_none", { planId: "Basic" }))).toBe("not_found");
  });
});

describe("the versions of a plan", () => {
  test("B02: are listed, the newest first, and read one by one", async () => {
    const { PlanVersionService: versions, PlanService: plans } = context;
    await plans.create({ name: "Bronze", price: 100, currency: "USD", interval: "monthly", limits: {} });
    for (const price of [200, 300]) await plans.update("Bronze", { price });
    const { data, pagination } = await versions.list("Bronze");
    expect([data.map(({ n, price }) => [n, price]), pagination.total]).toEqual([[[3, 300], [2, 200], [1, 100]], 3]);
    expect(await versions.get("Bronze", "2")).toMatchObject({ id: "planversion:Bronze:2", price: 200 });
    expect([await versions.get("Bronze", "4"), await versions.get("Bronze", "x")]).toEqual([null, null]);
    expect(await codeOf(versions.list("None"))).toBe("not_found");
  });
});
