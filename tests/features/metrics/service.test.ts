import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MAX_METRICS } from "../../../shared/features/metrics/catalogue.ts";
import { DEFAULT_METRICS } from "../../../shared/features/metrics/default-metrics.ts";
import { DEFAULT_PLANS } from "../../../shared/features/plans/default-plans.ts";
import { limitedMetrics } from "../../../shared/features/usage/rules.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const guests = { id: "guests", name: "Guests", unit: "guests", kind: "gauge" } as const;
const plan = (
  name: string,
  limits: Record<string, number | null>,
) => ({ name, price: 1, currency: "USD", interval: "monthly", limits } as const);

describe("the metric catalogue", () => {
  it("U05: is seeded once with the metrics that the default plans limit, and keeps the platform's changes", async () => {
    expect((await context.MetricService.list()).data.map(({ id }) => id).sort()).toEqual(DEFAULT_METRICS.map(({ id }) => id).sort());
    for (const { limits } of DEFAULT_PLANS) expect(limitedMetrics(limits).sort()).toEqual(DEFAULT_METRICS.map(({ id }) => id).sort());
    await context.MetricService.update("rooms", { name: "Keys" });
    expect(await context.MetricService.seedDefaults()).toEqual([]);
    expect(await context.MetricService.get("rooms")).toMatchObject({ name: "Keys", unit: "rooms", kind: "gauge" });
  });

  it("U05: a new metric is metered, listed and limited without a deployment", async () => {
    const { id } = await context.tenant();
    await context.MetricService.create({ ...guests, id: "nights", unit: "nights" });
    expect(await context.UsageService.increment(id, "nights", 5)).toMatchObject({ current: 5, limit: null, unit: "nights", kind: "gauge" });
    expect((await context.UsageService.getAll(id)).map(({ metric }) => metric)).toContain("nights");
    await context.PlanService.create(plan("Nightly", { nights: 8 }));
    await context.TenantService.update(id, { plan: "Nightly" });
    expect(await context.UsageService.get(id, "nights")).toMatchObject({ current: 5, limit: 8 });
    expect(await context.UsageService.get(id, "rooms")).toMatchObject({ limit: null });
    const later = await context.tenant({ plan: "Nightly" });
    expect(await context.store.count(`usage:${later.id}`)).toBe(1);
    expect(await context.UsageService.consume(later.id, "nights", 9)).toMatchObject({ allowed: false, limit: 8 });
  });

  it("U05: another process uses a new metric at once, and a renamed one within 10 seconds", async () => {
    const { id } = await context.tenant();
    const [other] = await context.racers(1);
    const { UsageService } = context.over(other ?? context.store);
    await UsageService.increment(id, "rooms", 1);
    await context.MetricService.create({ ...guests, id: "towels" });
    expect((await UsageService.increment(id, "towels", 1)).unit).toBe("guests");
    await context.MetricService.update("towels", { unit: "towels" });
    context.clock.advance(10_000);
    expect((await UsageService.increment(id, "towels", 1)).unit).toBe("towels");
  });

  it("U05: first uses and reads in another process succeed while a metric is renamed, and are refused if its kind changed", async () => {
    const { id } = await context.tenant();
    const [other] = await context.racers(1);
    const { UsageService } = context.over(other ?? context.store);
    await context.MetricService.create({ ...guests, id: "spa" });
    for (const use of [() => UsageService.get(id, "spa"), () => UsageService.increment(id, "spa", 1)]) {
      await UsageService.getAll(id);
      await context.MetricService.update("spa", { name: `Spa ${context.clock.iso()}` });
      expect(await codeOf(use())).toMatch(/^no error/);
      context.clock.advance(1_000);
    }
    await context.MetricService.create({ ...guests, id: "pool" });
    expect(await codeOf(UsageService.get(id, "pool"))).toMatch(/^no error/);
    await context.MetricService.delete("pool");
    await context.MetricService.create({ ...guests, id: "pool", kind: "counter" });
    expect(await codeOf(UsageService.increment(id, "pool", 1))).toBe("write_conflict");
    expect((await UsageService.increment(id, "pool", 1)).kind).toBe("counter");
  });

  it("U05: an invalid id, or the name of a limit that is not metered, is refused, and the kind never changes", async () => {
    for (const id of ["1st", "__proto__", "a b", "x".repeat(65), "customDomains", "a:b", ""]) {
      await expect(context.MetricService.create({ ...guests, id }), id).rejects.toMatchObject({
        code: "validation_failed",
        fields: [{ path: "/id" }],
      });
    }
    expect(await codeOf(context.MetricService.update("rooms", { kind: "counter" } as object))).toBe("validation_failed");
    expect(await codeOf(context.MetricService.create({ ...guests, id: "rooms" }))).toBe("already_exists");
  });

  it("B03: a plan's limits must name metrics, and each unknown name is refused with a pointer", async () => {
    await expect(context.PlanService.create(plan("Odd", { rooms: 1, customDomains: 2, beds: 3, "to~wels": null }))).rejects.toMatchObject({
      code: "validation_failed",
      fields: [{ path: "/limits/beds", code: "unknown_metric" }, { path: "/limits/to~0wels", code: "unknown_metric" }],
    });
    await context.PlanService.create(plan("Even", { rooms: 1, customDomains: 2 }));
    await expect(context.PlanService.update("Even", { limits: { beds: 3 } })).rejects.toMatchObject({ fields: [{ path: "/limits/beds" }] });
    expect((await context.PlanService.update("Even", { limits: { beds: null, users: 4 } }))?.limits).toEqual({
      rooms: 1,
      users: 4,
      customDomains: 2,
    });
  });

  it("T14: a tenant's own users can read it and not change it", async () => {
    const { id } = await context.tenant();
    const bound = context.as(userOf(id));
    expect((await bound.MetricService.get("rooms"))?.kind).toBe("gauge");
    expect(await codeOf(bound.MetricService.create({ ...guests, id: "mine" }))).not.toMatch(/^no error/);
    expect(await codeOf(bound.MetricService.update("rooms", { name: "Mine" }))).not.toMatch(/^no error/);
    expect(await codeOf(bound.MetricService.delete("rooms"))).not.toMatch(/^no error, but true/);
    expect(await context.MetricService.get("rooms")).not.toBeNull();
  });
});

describe("the limit of 100 metrics", () => {
  it("U05: holds under racing creations, in 12 rounds", async () => {
    const services = (await context.racers(4)).map((store) => context.over(store).MetricService);
    const { MetricService } = context;
    const free = 1;
    for (let n = await context.store.count("metric"); n < MAX_METRICS - free; n++) {
      await MetricService.create({ ...guests, id: `fill_${n}` });
    }
    for (let round = 0; round < 12; round++) {
      const ids = services.map((_, i) => `last_${round}_${i}`);
      const codes = await Promise.all(services.map((service, i) => codeOf(service.create({ ...guests, id: ids[i] ?? "" }))));
      const made = ids.filter((_, i) => codes[i]?.startsWith("no error"));
      expect(made.length, `round ${round}: ${codes.join()}`).toBe(free);
      expect(codes.filter((code) => code === "validation_failed")).toHaveLength(services.length - free);
      expect(await context.store.count("metric")).toBe(MAX_METRICS);
      expect(await codeOf(MetricService.create({ ...guests, id: made[0] ?? "" }))).toBe("already_exists");
      for (const id of made) await MetricService.delete(id);
    }
    for (const { id } of (await MetricService.list({ search: "guests" }, undefined, { limit: 100 })).data) {
      if (id.startsWith("fill_")) await MetricService.delete(id);
    }
  });
});

describe("deleting a metric", () => {
  it("U05: is refused while a plan limits it or usage of it is recorded, and makes it unknown", async () => {
    const { id } = await context.tenant();
    await context.MetricService.create(guests);
    await context.PlanService.create(plan("Guesthouse", { guests: null }));
    await expect(context.MetricService.delete("guests")).rejects.toMatchObject({
      code: "metric_in_use",
      status: 409,
      message: "Metric guests is limited by plan Guesthouse. You can delete only a metric that nothing uses.",
    });
    await context.PlanService.delete("Guesthouse");
    await context.UsageService.get(id, "guests");
    expect(await context.MetricService.delete("guests")).toBe(true);
    expect(await codeOf(context.UsageService.increment(id, "guests", 1))).toBe("not_found");
    expect(await context.MetricService.delete("guests")).toBe(false);
    await context.MetricService.create(guests);
    await context.UsageService.increment(id, "guests", 1);
    expect(await codeOf(context.MetricService.delete("guests"))).toBe("metric_in_use");
  });

  it("U05: concurrent with its first use in other processes, never leaves usage or a limit without its metric", async () => {
    const stores = await context.racers(6);
    const { id } = await context.tenant();
    for (let round = 0; round < 12; round++) {
      const name = `race_${round}`;
      await context.MetricService.create({ ...guests, id: name });
      const callers = stores.map((store) => context.over(store));
      await Promise.all(callers.map(({ UsageService }) => UsageService.get(id, name)));
      await Promise.all([
        codeOf(context.MetricService.delete(name)),
        ...callers.map(({ UsageService, PlanService }, i) => (
          codeOf(i % 2 === 0 ? UsageService.increment(id, name, 1) : PlanService.create(plan(`Race${round}-${i}`, { [name]: 1 })))
        )),
      ]);
      const used = await context.store.count(`usage:${id}:${name}`) > 0;
      const limited = (await context.PlanService.list({ search: `Race${round}-` })).data.length > 0;
      if (used || limited) expect(await context.MetricService.get(name), name).not.toBeNull();
    }
  });
});
