import { afterAll, expect, test } from "vitest";
import type { PlanCreate } from "../../shared/features/plans/service.ts";
import { openTestContext } from "../support/test-context.ts";

const app = await openTestContext();
const {
  CreditNoteService,
  DashboardService,
  EntitlementService,
  GrantService,
  InvoiceService,
  PlanMigrationService,
  PlanService,
  PlanVersionService,
  RevenueService,
  SubscriptionService,
  TenantService,
} = app;
afterAll(() => app.close());

test("H29: a change of a plan makes a version, and moves no subscriber", async () => {
  const starter = {
    id: "Starter",
    name: "Starter",
    displayName: "Starter",
    description: "For one small house.",
    price: 4_900,
    currency: "USD",
    interval: "monthly",
    limits: { rooms: 20, users: 3 },
    features: ["front-desk"],
    active: true,
  } satisfies PlanCreate;
  const plan = await PlanService.create(starter);
  const tenant = await app.tenant({ plan: plan.id });
  await PlanService.update("Starter", { price: 5_900 });
  const versions = await PlanVersionService.list("Starter");
  const first = await PlanVersionService.get("Starter", "1");
  expect(versions.data.map(({ price }) => price).sort()).toEqual([4_900, 5_900]);
  expect(first).toMatchObject({ price: 4_900 });
  expect((await TenantService.get(tenant.id))?.mrr).toBe(49);

  await PlanService.upsert({ ...starter, id: "Seasonal", name: "Seasonal", displayName: "Seasonal" });
  const deleted = await PlanService.delete("Seasonal");
  expect(deleted).toBe(true);
  expect(await PlanService.seedDefaults()).toEqual([]);

  const draft = { planId: "Starter", mode: "next_period", toVersion: 2, waveSize: 100 } as const;
  const preview = await PlanMigrationService.preview(draft);
  const migration = await PlanMigrationService.create(draft);
  await PlanMigrationService.start(migration.id);
  await PlanMigrationService.pause(migration.id);
  const moves = await PlanMigrationService.listMoves(migration.id);
  await PlanMigrationService.retry(migration.id).catch(() => "nothing failed");
  await PlanMigrationService.cancel(migration.id);
  const ended = await PlanMigrationService.get(migration.id);
  expect(preview).toMatchObject({ subscribers: 1 });
  expect(moves.data).toEqual([]);
  expect(ended).toMatchObject({ status: "cancelled" });
  expect((await PlanMigrationService.list()).data).toHaveLength(1);
});

test("H29: a subscription changes its plan, ends with its period, and can be taken back", async () => {
  const { id: tenantId } = await app.tenant({ plan: "Basic" });
  const preview = await SubscriptionService.preview(tenantId, { planId: "Pro" });
  const changed = await SubscriptionService.upsert(tenantId, { planId: "Pro", paymentMethod: "card" });
  const { created } = await SubscriptionService.put(tenantId, { planId: "Pro", paymentMethod: "invoice" });
  expect(preview).toMatchObject({ planId: "Pro" });
  expect(changed).toMatchObject({ planId: "Pro", status: "active" });
  expect(created).toBe(false);
  const ending = await SubscriptionService.cancel(tenantId, true);
  expect(ending).toMatchObject({ status: "active", cancelAtPeriodEnd: true });
  const kept = await SubscriptionService.reactivate(tenantId);
  expect(kept).toMatchObject({ status: "active", cancelAtPeriodEnd: false });
});

test("H29: a grant gives one tenant what its plan does not", async () => {
  const { id: tenantId } = await app.tenant({ plan: "Basic" });
  const grant = await GrantService.create(tenantId, { kind: "limit", key: "rooms", value: 40, source: "grant", reason: "A new wing." });
  const rooms = await EntitlementService.check(tenantId, "rooms");
  expect(rooms).toMatchObject({ limit: 100 });
  await GrantService.update(tenantId, grant.id, { value: 60 });
  const entitlements = await EntitlementService.get(tenantId);
  expect(entitlements?.limits.find(({ key }) => key === "rooms")).toMatchObject({ limit: 120 });
  await GrantService.delete(tenantId, grant.id);
  expect(await EntitlementService.check(tenantId, "rooms")).toMatchObject({ limit: 60 });
});

test("H29: an invoice is paid and credited, and another one voided", async () => {
  const { id: tenantId } = await app.tenant();
  const invoice = await InvoiceService.create(tenantId, {
    lineItems: [{ description: "Pro, March 2026", quantity: 1, unitAmount: 29_900 }],
    dueDate: "2026-03-31T00:00:00.000Z",
  });
  expect(invoice).toMatchObject({ number: "INV-2026-000001", amount: 29_900, total: 29_900, status: "pending" });
  await InvoiceService.markFailed(tenantId, invoice.id);
  const paid = await InvoiceService.markPaid(tenantId, invoice.id);
  const note = await CreditNoteService.create(tenantId, {
    invoiceId: invoice.id,
    reason: "order_change",
    lineItems: [{ description: "Two days without service", quantity: 1, unitAmount: 2_000 }],
  });
  const refunded = await InvoiceService.refund(tenantId, invoice.id);
  expect([paid?.status, note.total, refunded?.status]).toEqual(["paid", 2_000, "refunded"]);
  const wrong = await InvoiceService.create(tenantId, {
    lineItems: [{ description: "By mistake", unitAmount: 100 }],
    dueDate: "2026-03-31T00:00:00.000Z",
  });
  await InvoiceService.void(tenantId, wrong.id);
  const voided = await InvoiceService.get(tenantId, wrong.id);
  const invoices = await InvoiceService.list(tenantId, { status: ["void"] });
  expect(invoices.data).toEqual([voided]);
});

test("H29: the dashboard and the movements of revenue come from counts that every change keeps", async () => {
  const movements = await RevenueService.movements({ from: "2026-03", to: "2026-03" });
  const dashboard = await DashboardService.get({ days: 7 });
  expect(movements.data).toHaveLength(1);
  expect(dashboard).toMatchObject({ tenants: { tenants: (await TenantService.stats()).total } });
});
