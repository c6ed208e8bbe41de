import { afterAll, beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

/** Changes a stored record past the program, as an import or a statement in the database can. */
async function damage(key: string, members: JsonObject): Promise<void> {
  const entry = await context.store.get(key);
  await context.store.set(key, { ...entry?.value as JsonObject, ...members }, { tenantId: entry?.tenantId ?? null });
}

const run = async (job: string, dryRun = false) => await context.JobService.run(job, { dryRun });
const planOf = async (id: string) => (await context.SubscriptionService.get(id))?.currentPeriodStart;

test("O05: a subscription or tenant that cannot be read fails as one item of the job subscriptions, and the others are billed", async () => {
  const [first, second, third] = await Promise.all([1, 2, 3].map(() => context.tenant({ plan: "Basic" })));
  if (!first || !second || !third) throw new Error("no tenants");
  const begun = await planOf(third.id);
  await damage(`subscription:${first.id}`, { status: "wild", pendingItems: 7 });
  await damage(`tenant:${second.id}`, { plan: null });
  context.clock.advance(32 * 86_400_000);
  expect(await run("subscriptions", true)).toMatchObject({ processed: 1, report: { failing: 2 } });
  const report = await run("subscriptions");
  expect(report).toMatchObject({ complete: true, processed: 1 });
  expect(report.errors.map(({ item, code }) => [item, code]).sort()).toEqual([
    [`subscription:${first.id}`, "internal"],
    [`subscription:${second.id}`, "internal"],
  ].sort());
  expect(report.errors.map(({ message }) => message).sort()[0]).toContain(`does not match its declaration at /status`);
  while ((await run("subscriptions")).processed > 0);
  expect(await planOf(third.id)).not.toBe(begun);
  expect((await context.JobService.list()).find(({ name }) => name === "subscriptions")).toMatchObject({ backlog: { count: 2 } });
  expect(await context.dump("dead")).toHaveLength(2);
});

test("O05: a subscriber that cannot be read fails alone in a plan migration, and the others are moved", async () => {
  const { PlanService, PlanMigrationService } = context;
  await PlanService.create({ name: "Moved", price: 100, currency: "USD", interval: "monthly", limits: {} });
  const [first, second] = await Promise.all([1, 2].map(() => context.tenant({ plan: "Moved" })));
  if (!first || !second) throw new Error("no tenants");
  await PlanService.update("Moved", { price: 200 });
  await damage(`subscription:${first.id}`, { anchorDay: "x" });
  expect(await PlanMigrationService.preview({ planId: "Moved", mode: "prorate" })).toMatchObject({ moving: 1, skipped: { unreadable: 1 } });
  const { id } = await PlanMigrationService.create({ planId: "Moved", mode: "prorate" });
  await PlanMigrationService.start(id);
  while ((await run("plan-migrations")).processed > 0) context.clock.advance(5 * 60_000);
  expect(await PlanMigrationService.get(id)).toMatchObject({ moved: 1, failed: 1, waiting: 0 });
  expect((await context.SubscriptionService.get(second.id))?.planVersion).toBe(2);
  expect((await PlanMigrationService.listMoves(id)).data.find(({ tenant }) => tenant === first.id)).toMatchObject({
    status: "failed",
    reason: "internal",
  });
});

test("O05: entitlements that cannot be read fail as one item of the job entitlements, and those of others are written", async () => {
  const [first, second] = await Promise.all([1, 2].map(() => context.tenant({ plan: "Basic" })));
  if (!first || !second) throw new Error("no tenants");
  const expiresAt = new Date(context.clock.now() + 3_600_000).toISOString();
  for (const { id } of [first, second]) {
    await context.GrantService.create(id, { kind: "limit", key: "rooms", value: 20, reason: "A season.", expiresAt });
  }
  await damage(`entitlements:${first.id}`, { revision: "wild" });
  context.clock.advance(3_600_000);
  const report = await run("entitlements");
  expect(report).toMatchObject({ complete: true, processed: 1, errors: [{ item: `entitlements:${first.id}`, code: "internal" }] });
  expect(await context.EntitlementService.check(second.id, "rooms")).toMatchObject({ limit: 60, revision: 3 });
  expect((await context.JobService.list()).find(({ name }) => name === "entitlements")).toMatchObject({ backlog: { count: 1 } });
});
