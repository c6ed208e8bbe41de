import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { highestPercentage, thresholdsReached } from "../../../shared/features/usage/rules.ts";
import { openTestContext } from "../../support/test-context.ts";
import { seededRandom } from "../../support/random.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const percentOf = async (id: string) => (await context.TenantService.get(id))?.usagePercent;

describe("a tenant's usagePercent", () => {
  it("U06: is absent until a threshold is crossed, then the highest percentage, up and down again", async () => {
    const { id } = await context.tenant({ plan: "Trial" });
    await context.UsageService.increment(id, "bookings", 79);
    expect(await percentOf(id)).toBeUndefined();
    await context.UsageService.increment(id, "bookings", 1);
    expect(await percentOf(id)).toBe(80);
    await context.UsageService.record(id, "rooms", 19);
    expect(await percentOf(id)).toBe(95);
    await context.UsageService.increment(id, "bookings", 15);
    expect(await percentOf(id)).toBe(95);
    await context.UsageService.consume(id, "bookings", 5);
    expect(await percentOf(id)).toBe(100);
    await context.UsageService.increment(id, "bookings", -50);
    expect(await percentOf(id)).toBe(95);
    await context.UsageService.increment(id, "rooms", -9);
    expect(await percentOf(id)).toBe(50);
  });

  it("U06: is not written by a count that crosses no threshold or is of another month, and never changes updatedAt or the audit log", async () => {
    const created = await context.tenant({ plan: "Trial" });
    const { id } = created;
    for (let i = 0; i < 7; i++) await context.UsageService.increment(id, "bookings", 10);
    await context.UsageService.increment(id, "bookings", 99, undefined, "2026-04");
    expect(await context.TenantService.get(id)).toEqual(created);
    context.clock.advance(60_000);
    await context.UsageService.increment(id, "bookings", 10);
    const { version: _, ...crossed } = await context.TenantService.get(id) ?? created;
    const { version: __, ...before } = created;
    expect(crossed).toEqual({ ...before, usagePercent: 80 });
    expect(await context.auditOf(id)).toHaveLength(1);
  });

  it("U06: follows a limit that comes with a count", async () => {
    const { id } = await context.tenant();
    await context.UsageService.increment(id, "bookings", 9, 10);
    expect(await percentOf(id)).toBe(90);
    await context.UsageService.increment(id, "bookings", 1, 100);
    expect(await percentOf(id)).toBe(10);
  });

  it("U06: has crossed the same thresholds as usage after 8 concurrent processes, and is exact after a refresh", async () => {
    const random = seededRandom("U06 crossings");
    const stores = await context.racers(8);
    const { id } = await context.tenant();
    await context.UsageService.record(id, "storage", 70, 100);
    await context.UsageService.record(id, "users", 0, 100);
    for (let round = 0; round < 6; round++) {
      const step = round % 2 === 0 ? 4 : -4;
      const amounts = stores.map(() => 1 + random.below(4));
      await Promise.all(stores.flatMap((store, i) => [
        context.over(store).UsageService.increment(id, "storage", step),
        context.over(store).UsageService.increment(id, "users", amounts[i] ?? 0),
      ]));
      const highest = highestPercentage(await context.UsageService.getAll(id));
      const crossed = (current: number) => thresholdsReached({ current, limit: 100 });
      expect(crossed(await percentOf(id) ?? 0), `seed ${random.seed}, round ${round}`).toBe(crossed(highest));
      expect(await context.UsageService.refreshPercent(id)).toBe(highest);
      expect(await percentOf(id)).toBe(highest);
    }
  });
});
