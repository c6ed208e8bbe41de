import { Collection } from "../../../shared/core/collection.ts";
import type { UnitOfWork } from "../../../shared/core/unit-of-work.ts";
import { createBackend, loadServices, type Services } from "../../../shared/container.ts";
import { apiKey } from "../../../shared/features/api-keys/entity.ts";
import { recordRefusal, rehash } from "../../../shared/features/api-keys/lookup.ts";
import { hashRowOf } from "../../../shared/features/api-keys/rules.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { ADMIN, KEYS, type TestContext } from "../../support/test-context.ts";
import { HUBSPOT, type openIntegrations } from "../integrations/support.ts";
import { migrating } from "../plan-migrations/support.ts";

type Context = TestContext & Services;
const DAY = 86_400_000;
const WEEKS = 10;

/** Calls the services whose events no route sends, and runs the jobs over ten weeks, so that each of their events is sent at least once. */
export async function runAllJobs(context: Context, work: UnitOfWork): Promise<void> {
  await context.AdminUserService.bootstrap({ userId: "first", email: "first@innkeep.example" });
  await context.AdminUserService.recordLogin("first", context.clock.iso());
  await context.RetentionService.put("events", { type: "outbox-event", retentionDays: 365, enabled: true });
  await context.RetentionService.put("letters", { type: "dead-letter", retentionDays: 10, enabled: true });
  await context.RetentionService.delete("letters");
  for (const inApp of [false, true]) await context.NotificationService.putPreferences({ categories: { product: { inApp } } });
  await keys(context, work);
  await complianceRequests(context);
  await auditExports(context);
  await emails(context);
  const unpaid = await tenants(context);
  for (let week = 0; week < WEEKS; week++) {
    context.clock.advance(7 * DAY);
    for (const job of ["subscriptions", "usage", "closings", "entitlements", "api-keys"]) await context.JobService.run(job);
  }
  for (const { id, status } of (await context.InvoiceService.list(unpaid)).data) {
    if (status !== "paid") await context.InvoiceService.markPaid(unpaid, id);
  }
  const on = migrating(context);
  const { id: planId } = await on.soldPlan(2);
  await on.finish(await on.started({ planId, mode: "prorate", waveSize: 10 }));
}

/** Hours after an event until the tenth attempt of its delivery, a little more than the longest jitter. */
const ATTEMPT_HOURS = [0.01, 0.1, 0.6, 2.3, 5.6, 11.1, 15.5, 22.1, 26.5];

/** A provider that fails, refuses credentials that also expire, and a webhook that fails, is disabled and recovers. */
export async function failOutbound({ tenant, clock, network, over, store }: Awaited<ReturnType<typeof openIntegrations>>): Promise<void> {
  const { IntegrationService, JobService, PlanService, WebhookService } = over(store);
  const { id } = await tenant();
  await IntegrationService.connect(id, "hubspot", { ...HUBSPOT, credentialsExpireAt: clock.iso(10 * DAY) });
  const read = () =>
    IntegrationService.call(id, "hubspot", { action: "read", target: "contacts" }, async ({ send }) => {
      const { response: _, ...result } = await send({ method: "GET", url: "https://api.hubapi.com/crm/v3/objects/contacts", headers: {} });
      return { ...result, value: {} };
    });
  network.next = "timeout";
  for (let i = 0; i < 5; i++) await read();
  clock.advance(60_000);
  network.next = { status: 200 };
  await read();
  const { id: webhookId } = await WebhookService.create({ url: "https://hooks.example/innkeep", events: ["plan.*"] });
  await WebhookService.rotateSecret(webhookId, { overlapSeconds: 3_600 });
  const plan = (n: number) =>
    PlanService.create({ name: `Sent ${n}`, id: `sent-${n}`, price: 1, currency: "USD", interval: "monthly", limits: {} });
  network.next = { status: 500 };
  await plan(1);
  await JobService.run("webhooks");
  for (const hours of ATTEMPT_HOURS) {
    clock.advance(hours * 3_600_000);
    await JobService.run("webhooks");
  }
  network.next = { status: 410 };
  await plan(2);
  clock.advance(3_600_000);
  await JobService.run("webhooks");
  await WebhookService.enable(webhookId);
  network.next = { status: 200 };
  await plan(3);
  await JobService.run("webhooks");
  for (const days of [4, 351, 20]) {
    clock.advance(days * DAY);
    for (const job of ["integrations", "webhook-secrets", "webhooks"]) await JobService.run(job);
  }
}

/** An address that bounces. */
async function emails({ store, clock, tenant }: Context): Promise<void> {
  const bounced = { outcome: "bounced", reason: "RCPT TO: 550 5.1.1" } as const;
  const open = () => ({ send: () => Promise.resolve(bounced), close: () => Promise.resolve() });
  const mailer = { domain: "example.com", apiUrl: "https://api.example.com", open };
  const backend = createBackend({ store, clock, logger: silentLogger, ...KEYS, mailer });
  const services = (await loadServices())(backend.bind({ actor: ADMIN, tenantId: null, requestId: "req_test", clock }));
  const { id } = await tenant();
  for (const locale of ["en", "de"]) await services.EmailAddressService.put({ locale }, id);
  await services.NotificationService.create({ title: "Maintenance", message: "Tonight." }, id);
  await services.JobService.run("emails");
  await services.EmailAddressService.delete(id);
}

async function complianceRequests(context: Context): Promise<void> {
  const { ComplianceService, JobService } = context;
  const { id: tenantId } = await context.tenant();
  await ComplianceService.createRequest(tenantId, "export", "user-1", undefined, { dataTypes: ["subscription"] });
  await JobService.run("compliance");
  const { id } = await ComplianceService.createRequest(tenantId, "rectification", "user-1", "ada@innkeep.example");
  await ComplianceService.updateStatus(id, "failed", { error: "The identity of the person is not proven." });
  await ComplianceService.updateStatus(id, "pending");
  await ComplianceService.cancel(id);
  const hold = await context.LegalHoldService.create({ tenantId, reason: "Case 1" });
  await ComplianceService.createRequest(tenantId, "deletion", "user-1", undefined, { gracePeriodDays: 0 });
  await JobService.run("compliance");
  await context.LegalHoldService.release(hold.id);
  context.clock.advance(DAY);
  await JobService.run("compliance");
}

async function auditExports(context: Context): Promise<void> {
  const { AuditExportService, JobService } = context;
  const [, cancelled] = [await AuditExportService.create({}), await AuditExportService.create({})];
  await AuditExportService.cancel(cancelled.id);
  await JobService.run("audit-exports");
  const { id: tenantId } = await context.tenant();
  await AuditExportService.create({ tenantId });
  const damaged = (store: Store, name: keyof Store): unknown => {
    if (name === "chainHead") throw new Error("damaged");
    return typeof store[name] === "function" ? store[name].bind(store) : store[name];
  };
  await context.over(new Proxy(context.store, { get: damaged } as ProxyHandler<Store>)).JobService.run("audit-exports");
}

async function keys({ ApiKeyService, clock, store }: Context, work: UnitOfWork): Promise<void> {
  await ApiKeyService.generate("Expires", ["read:plans"], { expiresAt: clock.iso(10 * DAY) });
  await ApiKeyService.generate("Unused", ["read:plans"], { autoDisableAfterDays: 30 });
  const { id } = await ApiKeyService.generate("Rotated", ["read:plans"]);
  await ApiKeyService.rotate(id, { overlapSeconds: 3_600 });
  await recordRefusal(work, id, "tn_other");
  const key = await new Collection(apiKey, store).get(id);
  if (key) await rehash(work, hashRowOf(key, key.hash), "f".repeat(64));
}

/** Tenants whose trials end, grants expire, usage is above its limit, and invoices are overdue. Returns the one that does not pay. */
async function tenants(context: Context): Promise<string> {
  const { GrantService, PlanService, SubscriptionService, UsageService, clock } = context;
  await context.MetricService.update("bookings", { policy: "overage" });
  const terms = { price: 1_000, currency: "USD", interval: "monthly" as const, limits: { bookings: 10 } };
  await PlanService.create({ ...terms, name: "Metered", overage: { bookings: { unitAmount: 25 } } });
  await PlanService.create({ ...terms, name: "Tried", trialDays: 14 });
  const [metered] = [await context.tenant({ plan: "Metered" }), await context.tenant({ plan: "Tried", status: "trial" })];
  await context.tenant({ plan: "Trial", status: "trial" });
  await UsageService.increment(metered.id, "bookings", 15);
  await UsageService.record(metered.id, "bookings", 14);
  await GrantService.create(metered.id, { kind: "limit", key: "rooms", value: 1, source: "trial", expiresAt: clock.iso(DAY) });
  const { id: imported } = await context.tenant();
  await context.store.del(`subscription:${imported}`);
  await SubscriptionService.upsert(imported, { planId: "Pro" });
  await SubscriptionService.cancel(imported, false);
  return metered.id;
}
