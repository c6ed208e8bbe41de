import { expect } from "vitest";
import type { TestContext } from "../../support/test-context.ts";
import type { Killed } from "./killed.test.ts";

const HOUR_MS = 3_600_000;
const EACH = 20;
const LIMITS = { users: 5 };

/** Tenants whose first invoice, renewal, trial end or cancellation is due. */
export async function subscriptions(context: TestContext): Promise<Killed> {
  const { clock } = context;
  const { PlanService, SubscriptionService } = context.as();
  await PlanService.create({
    name: "Killed",
    price: 100,
    currency: "USD",
    interval: "daily",
    intervalCount: 30,
    limits: LIMITS,
    trialDays: 14,
  });
  const period = {
    currentPeriodStart: clock.iso(-30 * 24 * HOUR_MS - HOUR_MS),
    currentPeriodEnd: clock.iso(-HOUR_MS),
    invoicedUntil: clock.iso(-HOUR_MS),
  };
  const group = async (status: "active" | "trial", change: object | null) =>
    await Promise.all(Array.from({ length: EACH }, async () => {
      const { id } = await context.tenant({ plan: "Killed", status });
      if (change) await SubscriptionService.upsert(id, change);
      return id;
    }));
  const trials = await group("trial", { currentPeriodEnd: clock.iso(1) });
  const expected: [string[], string[]][] = [
    [await group("active", null), ["invoice.created"]],
    [await group("active", period), ["invoice.created", "subscription.renewed"]],
    [await group("active", { ...period, cancelAtPeriodEnd: true }), ["subscription.cancelled", "tenant.updated"]],
    [trials, ["invoice.created", "subscription.trial_ended", "tenant.updated"]],
  ];
  return {
    check: async () => {
      while ((await context.as().JobService.run("subscriptions")).processed > 0);
      const events = await context.dump("outbox");
      const byTenant = new Map<string | null, typeof events>();
      for (const event of events) byTenant.set(event.tenantId, [...byTenant.get(event.tenantId) ?? [], event]);
      for (const [ids, types] of expected) {
        for (const id of ids) {
          const own = (byTenant.get(id) ?? []).map(({ value }) => value as { type: string; data: { effectiveAt?: string } });
          expect(own.filter(({ data }) => data.effectiveAt !== undefined).map(({ type }) => type).sort(), id).toEqual(types);
          expect(await context.as().AuditService.verify(id), id).toMatchObject({ ok: true });
        }
      }
      const numbers = (await context.dump("invoice")).map(({ value }) => (value as { number: string }).number);
      const used = numbers.map((number) => Number(number.split("-")[2])).sort((a, b) => a - b);
      // The other jobs' tenants have invoices, too.
      expect(used).toEqual(Array.from({ length: numbers.length }, (_, i) => i + 1));
      expect((await context.dump("invoice")).filter(({ tenantId }) => expected.some(([ids]) => ids.includes(tenantId ?? "")))).toHaveLength(
        3 * EACH,
      );
    },
  };
}
