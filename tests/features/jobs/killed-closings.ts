import { expect } from "vitest";
import type { Services } from "../../../shared/container.ts";
import { newestClosed } from "../../../shared/features/closings/rules.ts";
import type { LineItem } from "../../../shared/features/invoices/entity.ts";
import type { TestContext } from "../../support/test-context.ts";
import type { Killed } from "./killed.test.ts";

const TENANTS = 20;

/** Tenants whose usage above the limit is billed, while the processes are killed. */
export async function closings(context: TestContext & Services): Promise<Killed> {
  const { MetricService, PlanService, UsageService } = context;
  const period = newestClosed(context.clock.now());
  await MetricService.create({ id: "calls", name: "Calls", unit: "calls", kind: "counter", policy: "overage" });
  await PlanService.create({
    name: "Overage",
    price: 100,
    currency: "USD",
    interval: "monthly",
    limits: { calls: 10 },
    overage: { calls: { unitAmount: 3 } },
  });
  const tenants = await Promise.all(Array.from({ length: TENANTS }, () => context.tenant({ plan: "Overage" })));
  await Promise.all(tenants.map(({ id }, n) => UsageService.record(id, "calls", 11 + n, undefined, period)));
  return {
    check: async () => {
      while ((await context.as().JobService.run("closings")).processed > 0);
      expect(await context.ClosingService.get(period)).not.toBeNull();
      for (const [n, { id }] of tenants.entries()) {
        const pending = (await context.SubscriptionService.get(id))?.pendingItems ?? [];
        const invoices = (await context.InvoiceService.list(id)).data;
        const lines = [...pending, ...invoices.flatMap(({ lineItems }) => lineItems as LineItem[])].filter(({ kind }) => kind === "usage");
        expect(lines, id).toMatchObject([{ description: `Overage calls ${period}`, quantity: n + 1, amount: 3 * (n + 1) }]);
        const billed = (await context.auditOf(id)).filter(({ action }) => action === "subscription.overage_billed");
        expect(billed, id).toHaveLength(1);
      }
    },
  };
}
