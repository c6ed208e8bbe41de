import { afterAll, expect, test } from "vitest";
import { codeOf } from "../support/store.ts";
import { openTestContext, userOf } from "../support/test-context.ts";

const app = await openTestContext();
const { AuditService, SubscriptionService, TenantService, UsageService } = app;
afterAll(() => app.close());

test("H29: setting up a tenant makes its subscription and its usage at the plan's limits", async () => {
  const tenant = await TenantService.create({
    name: "Hotel Aurora",
    subdomain: "aurora",
    plan: "Basic",
    owner: "ada@aurora.example",
    ownerName: "Ada Auer",
    region: "eu-west-1",
  });
  const subscription = await SubscriptionService.get(tenant.id);
  const usage = await UsageService.getAll(tenant.id);
  expect(tenant).toMatchObject({ status: "active", plan: "Basic", mrr: 99 });
  expect(subscription).toMatchObject({ planId: "Basic", status: "active" });
  expect(usage.find(({ metric }) => metric === "rooms")).toMatchObject({ current: 0, limit: 60, percentage: 0 });
});

test("H29: tenants are found by filter, page by page, and by their names", async () => {
  for (const n of [1, 2, 3]) {
    await app.tenant({ subdomain: `paged-${n}`, name: `Paged ${n}`, plan: "Enterprise", customDomain: `paged-${n}.example` });
  }
  const page = await TenantService.list({ status: ["active"], plan: ["Enterprise"] }, "-mrr,name", { page: 1, limit: 2 });
  expect(page.data.map(({ name }) => name)).toEqual(["Paged 1", "Paged 2"]);
  expect(page.pagination).toMatchObject({ page: 1, limit: 2, total: 3, totalPages: 2, hasNext: true, hasPrev: false });
  const next = await TenantService.list({ status: ["active"], plan: ["Enterprise"] }, "-mrr,name", { page: 2, limit: 2 });
  expect(next.data.map(({ name }) => name)).toEqual(["Paged 3"]);

  const bySubdomain = await TenantService.resolve("paged-2");
  const byDomain = await TenantService.byName({ domain: "paged-2.example" });
  const tenant = await TenantService.get(bySubdomain?.id ?? "");
  expect(tenant).toEqual(byDomain);
});

test("H29: the numbers of all tenants are computed in the database", async () => {
  await app.tenant({ plan: "Pro", mrr: 299 });
  const byStatus = await TenantService.countByStatus();
  const byPlan = await TenantService.countByPlan();
  const mrr = await TenantService.calculateTotalMRR();
  const stats = await TenantService.stats();
  expect(stats).toMatchObject({ byStatus, byPlan, totalMrr: mrr, currency: "USD" });
  expect(byStatus.active).toBeGreaterThan(0);
  expect(byPlan["Pro"]).toBeGreaterThan(0);
});

test("H29: the whole life of a tenant, from its trial to the certificate of what its deletion removed", async () => {
  const tenant = await TenantService.create({
    name: "Hotel Brio",
    subdomain: "brio",
    plan: "Trial",
    status: "trial",
    owner: "bo@brio.example",
    ownerName: "Bo",
  });
  await SubscriptionService.upsert(tenant.id, { planId: "Pro" });
  await TenantService.update(tenant.id, { status: "active", metadata: { segment: "city" } });
  await TenantService.suspend(tenant.id, "The invoice is 60 days overdue.");
  await TenantService.unsuspend(tenant.id);
  await TenantService.cancel(tenant.id);
  await TenantService.reactivate(tenant.id);
  const { tenant: now, plan, usage } = await TenantService.overview(tenant.id) ?? {};
  expect(now).toMatchObject({ status: "active", plan: "Pro", metadata: { segment: "city" } });
  expect(plan?.id).toBe("Pro");
  expect(usage?.length).toBeGreaterThan(0);

  const preview = await TenantService.remove(tenant.id, { dryRun: true });
  const deleted = await TenantService.delete(tenant.id);
  expect(preview).toMatchObject({ removed: { tenant: 1, subscription: 1 }, dryRun: true });
  expect(deleted).toBe(true);
  expect(await TenantService.get(tenant.id)).toBeNull();
  const history = await AuditService.list(tenant.id);
  expect(history.data[0]?.action).toBe("tenant.deleted");
});

test("H29: deleting a tenant deletes what it owns, and nothing of a tenant whose id begins alike", async () => {
  const [one, ten] = [await app.tenant({ id: "tn_1" }), await app.tenant({ id: "tn_10" })];
  const before = await app.dump();
  await TenantService.delete(one.id);
  const after = await app.dump();
  expect(after.filter(({ tenantId, key }) => tenantId === one.id && !/^(audit|outbox):/.test(key))).toEqual([]);
  const ofTen = (entries: typeof before) => entries.filter(({ tenantId }) => tenantId === ten.id).map(({ key }) => key);
  expect(ofTen(after)).toEqual(ofTen(before));
});

test("H29: a tenant's user reaches its own tenant only", async () => {
  const [mine, theirs] = [await app.tenant(), await app.tenant()];
  const own = app.as(userOf(mine.id));
  expect((await own.TenantService.list()).data.map(({ id }) => id)).toEqual([mine.id]);
  expect(await own.TenantService.get(theirs.id)).toBeNull();
  expect(await codeOf(own.UsageService.getAll(theirs.id))).toBe("not_found");
});
