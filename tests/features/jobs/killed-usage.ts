import { expect } from "vitest";
import { periodOf } from "../../../shared/core/periods.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { TestContext } from "../../support/test-context.ts";
import type { Services } from "../../../shared/container.ts";
import type { Killed } from "./killed.test.ts";

const TENANTS = 12;

/** Tenants whose counts were marked by processes that ended before they wrote what follows from the usage. */
export async function usage(context: TestContext & Services): Promise<Killed> {
  const { clock, store } = context;
  const period = periodOf(clock.now());
  const tenants = await Promise.all(Array.from({ length: TENANTS }, async (_, t) => {
    const { id } = await context.tenant({ plan: "Trial" });
    const bookings = 70 + 3 * t;
    await store.increment(`usage:${id}:bookings:${period}`, [{ path: ["current"], by: bookings }]);
    await store.set(`usagechange:${id}:${period}`, { tenantId: id, period, until: clock.iso((t % 12) * 500) });
    return { id, bookings };
  }));
  return {
    check: async () => {
      while (!(await context.as().JobService.run("usage")).complete);
      const values = async (family: string) => (await context.dump(family)).map(({ value }) => value as JsonObject);
      const events = (await values("outbox")).filter(({ type }) => type === "usage.alert");
      const entries = (await values("audit")).filter(({ action }) => action === "usage.alert");
      for (const { id, bookings } of tenants) {
        expect((await context.TenantService.get(id))?.usagePercent).toBe(Math.min(100, bookings));
        const reached = [80, 100].filter((threshold) => bookings >= threshold);
        const { data } = await context.AlertService.list(id, {}, "threshold");
        expect(data.map(({ threshold, triggered }) => [threshold, triggered])).toEqual(reached.map((threshold) => [threshold, true]));
        expect(events.filter(({ tenantId }) => tenantId === id)).toHaveLength(reached.length);
        expect(entries.filter(({ tenantId }) => tenantId === id)).toHaveLength(reached.length);
        expect(await store.get(`usagelevel:${id}:bookings:${period}`)).toMatchObject({ value: { current: bookings } });
        expect(await store.get(`usagechange:${id}:${period}`)).toBeNull();
      }
      expect(await store.get("usagemonth:current")).toMatchObject({ value: { period } });
    },
  };
}
