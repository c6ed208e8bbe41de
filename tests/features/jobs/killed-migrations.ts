import { expect } from "vitest";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { Services } from "../../../shared/container.ts";
import type { TestContext } from "../../support/test-context.ts";
import { migrating } from "../plan-migrations/support.ts";
import type { Killed } from "./killed.test.ts";

const SUBSCRIBERS = 60;

/** A plan whose subscribers are moved to its second version in one wave. */
export async function planMigrations(context: TestContext & Services): Promise<Killed> {
  const on = migrating(context);
  const { id: planId, tenants } = await on.soldPlan(SUBSCRIBERS);
  const id = await on.started({ planId, mode: "prorate", waveSize: 1_000 });
  return {
    check: async () => {
      expect(await on.finish(id)).toMatchObject({ status: "completed", moved: SUBSCRIBERS, waiting: 0, skipped: 0, failed: 0 });
      const moves = (await context.dump("audit")).filter(({ value }) => (value as JsonObject)["action"] === "subscription.migrated");
      for (const tenant of tenants) {
        expect(await on.subscriptionOf(tenant)).toMatchObject({ planId, planVersion: 2, status: "active" });
        expect(moves.filter(({ tenantId }) => tenantId === tenant)).toHaveLength(1);
      }
    },
  };
}
