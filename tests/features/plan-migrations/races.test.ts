import { afterAll, beforeAll, expect, test } from "vitest";
import type { JobRun, JobStep } from "../../../shared/core/job.ts";
import { monthlyRevenue } from "../../../shared/core/money.ts";
import { jobs } from "../../../shared/features/plan-migrations/jobs.ts";
import { soldTerms } from "../../../shared/features/plans/versions.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";
import { migrating, MINUTE } from "./support.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
let on: ReturnType<typeof migrating>;
beforeAll(async () => {
  context = await openTestContext();
  on = migrating(context);
});
afterAll(() => context.close());

/** Runs the steps of the job without its lease, as if several processes had it at once. */
async function runSteps(store: Store): Promise<void> {
  const work = on.workOf(store);
  const each: JobRun["each"] = async (items, handle) => {
    for (const item of items) await handle(item);
    return items.length;
  };
  let cursor: JsonObject | null = null;
  do {
    const step: JobStep | undefined = await jobs[0]?.step({ work, cursor, limit: 100, dryRun: false, each });
    cursor = step?.cursor ?? null;
  } while (cursor !== null);
}

/** The number of moves in the tenant's audit chain. Plan, revenue and limits must be those of the version that it was sold. */
async function checkedMoves(tenantId: string): Promise<number> {
  const [tenant, subscription] = [await context.TenantService.get(tenantId), await on.subscriptionOf(tenantId)];
  const terms = await soldTerms(on.workOf(context.store), subscription);
  expect(subscription.status).toBe("active");
  expect([tenant?.plan, tenant?.mrr]).toEqual([subscription.planId, monthlyRevenue(terms)]);
  for (const metric of ["rooms", "users"]) {
    expect((await context.UsageService.get(tenantId, metric))?.limit, metric).toBe(terms.limits[metric] ?? null);
  }
  return (await context.auditOf(tenantId)).filter(({ action }) => action === "subscription.migrated").length;
}

test("CP10: five migrations of overlapping cohorts, each run by five processes at once, leave one consistent subscription each", async () => {
  const { id: planId, tenants } = await on.soldPlan(24);
  await context.PlanService.update(planId, { price: 70_000, limits: { rooms: 15 } });
  const third = Math.floor(tenants.length / 3);
  const migrations = [
    await on.started({ planId, mode: "prorate", toVersion: 2, waveSize: 1_000 }),
    await on.started({ planId, mode: "next_period", waveSize: 1_000 }),
    await on.started({ planId, mode: "no_billing_change", waveSize: 1_000, cohort: { tenantIds: tenants.slice(0, 2 * third) } }),
    await on.started({ planId, mode: "prorate", toPlanId: "Basic", waveSize: 1_000, cohort: { tenantIds: tenants.slice(third) } }),
    await on.started({ planId, mode: "next_period", toPlanId: "Enterprise", waveSize: 1_000, cohort: { status: ["active"] } }),
  ];
  const changes = tenants.slice(0, 4).map((id) => context.SubscriptionService.upsert(id, { planId: "Pro" }));
  await Promise.all([...(await context.racers(5)).map(runSteps), ...changes]);
  for (const id of migrations) await on.finish(id);
  const done = await Promise.all(migrations.map(on.migrationOf));
  for (const { id, status, waiting, moved, skipped, failed } of done) {
    const { pagination } = await context.PlanMigrationService.listMoves(id);
    expect([status, waiting, failed, moved + skipped]).toEqual(["completed", 0, 0, pagination.total]);
  }
  let moves = 0;
  for (const tenant of tenants) moves += await checkedMoves(tenant);
  expect(moves).toBe(done.reduce((sum, { moved }) => sum + moved, 0));
  expect(moves).toBeGreaterThanOrEqual(tenants.length - changes.length);
  expect(await context.store.count("subscription")).toBe(tenants.length);
});

test("CP10: a job that is killed after any of its commits goes on with one effect for each subscriber", async () => {
  for (let commits = 1; commits <= 9; commits++) {
    const { id: planId, tenants } = await on.soldPlan(4);
    await context.TenantService.update(tenants[1] ?? "", { metadata: { legalHold: true } });
    const id = await on.started({ planId, mode: "prorate", waveSize: 3 });
    let left = commits;
    const dying = new Proxy(context.store, {
      get: (real, name: keyof Store) => {
        if (name !== "commit") return typeof real[name] === "function" ? real[name].bind(real) : real[name];
        return async (...commit: Parameters<Store["commit"]>) => {
          if (left <= 0) throw new InnkeepError("store_unavailable", "killed");
          const result = await real.commit(...commit);
          left -= 1;
          if (left === 0) throw new InnkeepError("store_unavailable", "killed");
          return result;
        };
      },
    });
    // Listing, the wave and its three subscribers are five commits.
    const code = await codeOf(runSteps(dying));
    if (commits <= 5) expect(code, `after ${commits} commits`).toBe("store_unavailable");
    context.clock.advance(5 * MINUTE);
    expect(await on.finish(id), `after ${commits} commits`).toMatchObject({
      status: "completed",
      waiting: 0,
      moved: 3,
      skipped: 1,
      failed: 0,
    });
    for (const [i, tenant] of tenants.entries()) {
      if (i !== 1) expect(await checkedMoves(tenant)).toBe(1);
      expect((await on.subscriptionOf(tenant)).pendingItems).toHaveLength(i === 1 ? 0 : 2);
    }
  }
});
