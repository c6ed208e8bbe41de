import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { highestPercentage, thresholdsReached } from "../../../shared/features/usage/rules.ts";
import { ADMIN, KEYS, openTestContext } from "../../support/test-context.ts";
import { createContainer } from "../../../shared/container.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import { jsonLogger } from "../../../shared/kernel/logger.ts";
import type { Store } from "../../../shared/kv/store.ts";
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

  it("U06: that the store fails to write is logged with tenant, metric and code, and the count stands", async () => {
    const { id } = await context.tenant({ plan: "Trial" });
    const lines: Record<string, unknown>[] = [];
    let isAway = false;
    const failing = new Proxy(context.store, {
      get: (real, name: keyof Store) => {
        if (name === "commit" && isAway) return () => Promise.reject(new InnkeepError("store_unavailable", "The store is away."));
        return typeof real[name] === "function" ? real[name].bind(real) : real[name];
      },
    });
    const logger = jsonLogger((line) => lines.push(JSON.parse(line) as Record<string, unknown>), context.clock.now);
    const container = await createContainer({ store: failing, clock: context.clock, logger, ...KEYS });
    const { UsageService } = container.services({ actor: ADMIN, tenantId: null, requestId: "req_settle", clock: context.clock });
    await UsageService.increment(id, "bookings", 1);
    isAway = true;
    expect(await UsageService.increment(id, "bookings", 89)).toMatchObject({ current: 90 });
    expect(await percentOf(id)).toBeUndefined();
    const line = { level: "warn", event: "usage_not_settled", requestId: "req_settle", tenantId: id, metric: "bookings" };
    expect(lines).toEqual([{ ...line, code: "store_unavailable", time: context.clock.iso() }]);
  });

  it("U06: is not written by what crosses nothing, nor by another month, and never moves updatedAt", async () => {
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
    expect((await context.auditOf(id)).map(({ action }) => action)).toEqual(["tenant.created", "usage.alert"]);
  });

  it("U06: follows a limit that comes with a count", async () => {
    const { id } = await context.tenant();
    await context.UsageService.increment(id, "bookings", 9, 10);
    expect(await percentOf(id)).toBe(90);
    await context.UsageService.increment(id, "bookings", 1, 100);
    expect(await percentOf(id)).toBe(10);
  });

  it("U06: is right after a count that restored it while another count's write was on its way", async () => {
    const { id } = await context.tenant();
    await context.UsageService.record(id, "users", 10, 100);
    expect(await context.UsageService.refreshPercent(id)).toBe(10);
    await context.UsageService.record(id, "users", 85, 100);
    await context.store.increment(`tenant:${id}`, [{ path: ["usagePercent"], to: 10 }]);
    let restored = false;
    const racing = new Proxy(context.store, {
      get: (real, name: keyof Store) => {
        if (name === "commit" && !restored) {
          return async (...given: Parameters<Store["commit"]>) => {
            restored = true;
            await context.UsageService.record(id, "users", 10, 100);
            return await real.commit(...given);
          };
        }
        return typeof real[name] === "function" ? real[name].bind(real) : real[name];
      },
    });
    expect(await context.over(racing).UsageService.refreshPercent(id)).toBe(10);
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
