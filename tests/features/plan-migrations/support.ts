import { createBackend } from "../../../shared/container.ts";
import { JobService } from "../../../shared/features/jobs/service.ts";
import type { PlanMigrationCreate } from "../../../shared/features/plan-migrations/service.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import type { Store } from "../../../shared/kv/store.ts";
import type { openTestContext } from "../../support/test-context.ts";

export const MINUTE = 60_000;
let made = 0;

/** Plans with subscribers, and the job of another process. */
export function migrating(context: Awaited<ReturnType<typeof openTestContext>>) {
  const subscriptionOf = async (id: string) => {
    const subscription = await context.SubscriptionService.get(id);
    if (!subscription) throw new Error("the subscription is gone");
    return subscription;
  };
  const migrationOf = async (id: string) => {
    const migration = await context.PlanMigrationService.get(id);
    if (!migration) throw new Error("the migration is gone");
    return migration;
  };
  const workOf = (store: Store) =>
    createBackend({ store, clock: context.clock, logger: silentLogger }).bind(systemContext(context.clock, "req_jobs", "jobs"));
  const tick = async () => await new JobService(workOf(context.store)).run("plan-migrations");
  return {
    subscriptionOf,
    migrationOf,
    workOf,
    tick,
    /** A plan with `count` subscribers of its first version, whose period is invoiced, and a second version. */
    soldPlan: async (count: number) => {
      const id = `Sold${++made}`;
      const terms = { price: 30_000, currency: "USD", interval: "monthly" as const, limits: { rooms: 50, users: 10 } };
      await context.PlanService.create({ ...terms, features: ["api", "sso"], name: id });
      const tenants = await Promise.all(Array.from({ length: count }, async () => (await context.tenant({ plan: id })).id));
      await Promise.all(tenants.map(async (tenant) => {
        await context.SubscriptionService.upsert(tenant, { invoicedUntil: (await subscriptionOf(tenant)).currentPeriodEnd });
      }));
      await context.PlanService.update(id, { price: 60_000, limits: { rooms: 20, users: null }, features: ["api"] });
      return { id, tenants };
    },
    started: async (data: PlanMigrationCreate) => {
      const { id } = await context.PlanMigrationService.create(data);
      await context.PlanMigrationService.start(id);
      return id;
    },
    /** Runs the job until the migration is completed, five minutes from wave to wave. */
    finish: async (id: string) => {
      for (let i = 0; i < 20 && (await migrationOf(id)).status === "running"; i++) {
        await tick();
        context.clock.advance(5 * MINUTE);
      }
      return await migrationOf(id);
    },
  };
}
