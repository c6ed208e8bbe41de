import { expect } from "vitest";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { TestContext } from "../../support/test-context.ts";
import type { Services } from "../../../shared/container.ts";
import type { Killed } from "./killed.test.ts";

const TENANTS = 10;
const GRANTS = 12;
/** From one expiry to the next. */
const EXPIRY_MS = 250;

/** Tenants whose grants expire one after the other, while the processes are killed. */
export async function entitlements(context: TestContext & Services): Promise<Killed> {
  const { clock } = context;
  const tenants = await Promise.all(Array.from({ length: TENANTS }, () => context.tenant({ plan: "Basic" })));
  await Promise.all(tenants.map(async ({ id }, t) => {
    await context.UsageService.increment(id, "bookings", 1);
    for (let g = 0; g < GRANTS; g++) {
      const expiresAt = clock.iso((1 + (g * 3 + t) % 36) * EXPIRY_MS);
      await context.GrantService.create(id, { kind: "limit", key: "bookings", value: 1, source: "trial", expiresAt });
    }
  }));
  return {
    check: async () => {
      while ((await context.as().JobService.run("entitlements")).processed > 0);
      const events = (await context.dump("outbox")).map(({ value }) => value as JsonObject)
        .filter(({ type }) => type === "entitlements.updated");
      const entries = (await context.dump("audit")).filter(({ value }) => (value as JsonObject)["action"] === "entitlements.updated");
      for (const { id } of tenants) {
        const now = await context.EntitlementService.get(id);
        expect(now).toMatchObject({ revision: 1 + 2 * GRANTS });
        expect(now?.limits).toContainEqual({ key: "bookings", limit: 1_000, source: "plan" });
        expect(await context.UsageService.get(id, "bookings")).toMatchObject({ limit: 1_000, current: 1 });
        // Each write has one event and one audit entry, and no revision is written twice.
        const revisions = events.filter(({ tenantId }) => tenantId === id)
          .map(({ data }) => ((data as JsonObject)["entitlements"] as JsonObject)["revision"]);
        expect(new Set(revisions).size).toBe(revisions.length);
        expect(Math.max(...revisions.map(Number))).toBe(1 + 2 * GRANTS);
        expect(entries.filter(({ tenantId }) => tenantId === id)).toHaveLength(revisions.length);
      }
    },
  };
}
