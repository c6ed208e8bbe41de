import { afterAll, expect, test } from "vitest";
import { openTestContext } from "../support/test-context.ts";

const app = await openTestContext();
const { AdminUserService, AuditActionService, AuditService, JobService, RetentionService, RootKeyService, TenantService, kv } = app;
afterAll(() => app.close());

test("H29: a change is in the audit log with what it changed, and the chain verifies", async () => {
  const { id: tenantId } = await app.tenant();
  app.clock.advance(1_000);
  await TenantService.update(tenantId, { name: "Hotel Aurora am See" });
  const changes = await AuditService.getByResource("tenant", tenantId);
  expect(changes.data[0]).toMatchObject({ action: "tenant.updated", changes: { after: { name: "Hotel Aurora am See" } } });
  await AuditActionService.create({
    id: "app.tenant.imported",
    description: "The tenant came from the old panel.",
    dataSchema: { type: "object", properties: { source: { type: "string" } } },
  });
  await AuditService.log("app.tenant.imported", "tenant", tenantId, { tenantId, data: { source: "the old panel" } });
  await AuditActionService.update("app.tenant.imported", { description: "The tenant and its rooms came from the old panel." });
  const actions = await AuditActionService.declared();
  expect(actions.data.map(({ action }) => action)).toContain("tenant.suspended");
  const page = await AuditService.list(tenantId, { limit: 10 });
  const chain = await AuditService.verify(tenantId);
  const part = await AuditService.verifyPart(tenantId, { limit: 100 });
  expect(page.data.length).toBe(chain.checked);
  expect([chain.ok, part.ok]).toEqual([true, true]);
  const exported: unknown[] = [];
  for await (const entry of AuditService.export(tenantId)) exported.push(entry);
  expect(exported.length).toBeGreaterThanOrEqual(page.data.length);
});

test("H29: retention deletes by policy, after a dry run that writes nothing", async () => {
  await RetentionService.upsert("usage-two-years", { type: "usage-record", retentionDays: 730, enabled: true, legalBasis: "Contract." });
  await RetentionService.put("usage-two-years", { type: "usage-record", retentionDays: 400, enabled: true });
  const preview = await RetentionService.run({ dryRun: true });
  const report = await RetentionService.run();
  expect(preview).toMatchObject({ dryRun: true });
  expect(report).toMatchObject({ dryRun: false });
});

test("H29: administrators have a role, and the last super_admin stays", async () => {
  await AdminUserService.assertBootstrapOpen();
  await AdminUserService.bootstrap({ userId: "11111111-1111-4111-8111-111111111111", email: "root@innkeep.example" });
  const admin = await AdminUserService.create({
    userId: "22222222-2222-4222-8222-222222222222",
    email: "sam@innkeep.example",
    name: "Sam",
    role: "support",
    permissions: [],
    enabled: true,
  });
  await AdminUserService.update(admin.userId, { role: "read_only" });
  await AdminUserService.recordLogin(admin.userId, app.clock.iso());
  const removed = await AdminUserService.remove(admin.userId);
  const again = await AdminUserService.delete(admin.userId);
  expect([removed, again]).toEqual([true, false]);
  await expect(AdminUserService.remove("11111111-1111-4111-8111-111111111111")).rejects.toMatchObject({ code: "last_super_admin" });
});

test("H29: the jobs run when they are due, or now", async () => {
  const jobs = await JobService.list();
  const report = await JobService.run("usage");
  const due = await JobService.runDue({ dryRun: true });
  const keys = await RootKeyService.list();
  expect(jobs.map(({ name }) => name)).toContain("usage");
  expect(report).toMatchObject({ job: "usage", errors: [] });
  expect(due.length).toBeGreaterThan(0);
  expect(keys).toEqual([]); // the job `root-keys` has counted none yet;
});

test("H29: code that used a kv_store table keeps its seven functions, in key order and without a limit", async () => {
  const example = async (n: number) => ({ ...await app.MetricService.get("rooms"), id: `spa_${n}`, version: undefined });
  const values = JSON.parse(JSON.stringify([await example(1), await example(2)])) as [object, object];
  await kv.mset(["metric:spa_1", "metric:spa_2"], values as never);
  const value = await kv.get("metric:spa_1");
  const several = await kv.mget(["metric:spa_2", "metric:none"]);
  const all = await kv.getByPrefix("metric");
  await kv.set("metric:spa_1", { ...value as object, name: "Spa" } as never);
  await kv.del("metric:spa_1");
  await kv.mdel(["metric:spa_2"]);
  expect([value, several]).toEqual([values[0], [values[1], null]]);
  expect(all).toContainEqual(values[0]);
  expect(await kv.get("metric:spa_1")).toBeNull();
});
