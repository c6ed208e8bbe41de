import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createContainer } from "../../../shared/container.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { seededRandom } from "../../support/random.ts";
import { ADMIN, openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const alertsOf = async (id: string) => (await context.AlertService.list(id, {}, "threshold")).data;
const stateOf = async (id: string) => (await alertsOf(id)).map(({ metric, threshold, triggered }) => `${metric} ${threshold} ${triggered}`);
const percentOf = async (id: string) => (await context.TenantService.get(id))?.usagePercent;

/** The data of the tenant's usage events, in their order. */
async function eventsOf(id: string): Promise<(readonly [type: string, threshold: unknown, percentage: unknown])[]> {
  const found = (await context.dump("outbox")).map(({ value }) => value as { type: string; tenantId: string; data: JsonObject });
  return found.filter(({ type, tenantId }) => tenantId === id && type.startsWith("usage.alert"))
    .map(({ type, data }) => [type, data["threshold"], data["percentage"]] as const)
    .toSorted((a, b) => `${a[0]} ${String(a[1])}` < `${b[0]} ${String(b[1])}` ? -1 : 1);
}

/** A store whose commits fail while `isAway` says so. */
function failing(isAway: () => boolean): Store {
  return new Proxy(context.store, {
    get: (real, name: keyof Store) => {
      if (name === "commit" && isAway()) return () => Promise.reject(new InnkeepError("store_unavailable", "The store is away."));
      return typeof real[name] === "function" ? real[name].bind(real) : real[name];
    },
  });
}

describe("a crossing", () => {
  it("U15, U16: writes alert, notification, event, usagePercent, level and audit entry in one commit, and nothing else of the tenant", async () => {
    const { updatedAt, id } = await context.tenant({ plan: "Trial" });
    await context.UsageService.increment(id, "bookings", 79);
    expect(await alertsOf(id)).toEqual([]);
    await context.UsageService.increment(id, "bookings", 1);
    const [alert] = await alertsOf(id);
    expect(alert).toMatchObject({ tenantId: id, metric: "bookings", period: "2026-03", threshold: 80, triggered: true, notified: true });
    expect(alert?.triggeredAt).toBe(context.clock.iso());
    expect(await context.TenantService.get(id)).toMatchObject({ usagePercent: 80, updatedAt });
    const entries = await context.dump();
    const versions = entries.filter(({ version }) => version === alert?.version).map(({ key }) => key.split(":")[0]);
    expect(versions.sort()).toEqual(["alert", "audit", "inbox", "notification", "outbox", "tenant", "usagelevel"]);
    const event = entries.find(({ key, version }) => key.startsWith("outbox:") && version === alert?.version)?.value as JsonObject;
    expect(event).toMatchObject({ type: "usage.alert", subject: alert?.id, tenantId: id });
    const data = { tenantId: id, metric: "bookings", period: "2026-03", threshold: 80, current: 80, limit: 100, percentage: 80 };
    expect(event["data"]).toMatchObject({ ...data, alert: { id: alert?.id } });
    expect((await context.auditOf(id)).map(({ action }) => action)).toEqual(["tenant.created", "usage.alert"]);
  });

  it("U15: of 50, 80, 100 and 200 % is reported once each, however often usage falls and rises", async () => {
    const random = seededRandom("U15 rising and falling");
    await context.MetricService.create({ id: "beds", name: "Beds", unit: "beds", kind: "gauge", thresholds: [50, 80, 100, 200] });
    const { id } = await context.tenant();
    const reached = new Set<number>();
    for (let i = 0; i < 40; i++) {
      const value = random.below(250);
      for (const threshold of [50, 80, 100, 200]) if (value >= threshold) reached.add(threshold);
      await context.UsageService.record(id, "beds", value, 100);
      const expected = [50, 80, 100, 200].filter((threshold) => reached.has(threshold)).map((t) => `beds ${t} ${value >= t}`);
      expect(await stateOf(id), `seed ${random.seed}, step ${i}`).toEqual(expected);
    }
    const sent = (await eventsOf(id)).filter(([type]) => type === "usage.alert").map(([, threshold]) => threshold);
    expect(sent.toSorted()).toEqual([...reached].toSorted());
  });

  it("U15: by 64 writers of two processes is reported exactly once for each threshold", async () => {
    const [left, right] = await context.racers(2) as [Store, Store];
    for (let round = 0; round < 6; round++) {
      const { id } = await context.tenant({ plan: "Trial" });
      await context.UsageService.increment(id, "bookings", 60);
      const services = [left, right].map((store) => context.over(store).UsageService);
      await Promise.all(Array.from({ length: 64 }, (_, i) => services[i % 2]?.increment(id, "bookings", 1)));
      expect(await stateOf(id)).toEqual(["bookings 80 true", "bookings 100 true"]);
      expect((await eventsOf(id)).map(([type, threshold]) => [type, threshold])).toEqual([["usage.alert", 100], ["usage.alert", 80]]);
      expect(await percentOf(id)).toBe(100);
      expect((await context.auditOf(id)).filter(({ action }) => action === "usage.alert")).toHaveLength(2);
    }
  }, 30_000);

  it("U15: by a reservation is written at once, and resolved when it is released", async () => {
    const { id } = await context.tenant({ plan: "Trial" });
    await context.UsageService.increment(id, "bookings", 70);
    const held = await context.ReservationService.reserve(id, "bookings", 15);
    expect([await stateOf(id), await percentOf(id)]).toEqual([["bookings 80 true"], 85]);
    await context.ReservationService.release(id, "bookings", held.id);
    expect([await stateOf(id), await percentOf(id)]).toEqual([["bookings 80 false"], 70]);
    expect(await eventsOf(id)).toEqual([["usage.alert", 80, 85], ["usage.alert.resolved", 80, 70]]);
  });

  it("U15: whose process failed after the count is made good by the job, once", async () => {
    const { id } = await context.tenant({ plan: "Trial" });
    let away = false;
    const { UsageService } = context.over(failing(() => away));
    await UsageService.increment(id, "bookings", 1);
    away = true;
    expect(await UsageService.increment(id, "bookings", 84)).toMatchObject({ current: 85 });
    expect([await stateOf(id), await percentOf(id)]).toEqual([[], undefined]);
    const jobs = (await context.racers(2)).map((store) => context.over(store).JobService);
    await Promise.allSettled(jobs.map((job) => job.run("usage")));
    await context.JobService.run("usage");
    expect([await stateOf(id), await percentOf(id)]).toEqual([["bookings 80 true"], 85]);
    expect(await eventsOf(id)).toEqual([["usage.alert", 80, 85]]);
  });

  it("U15: without a count, by a smaller limit of a plan or of a grant that ends, is found by the job", async () => {
    const { id } = await context.tenant({ plan: "Pro" });
    await context.UsageService.increment(id, "bookings", 950);
    await context.JobService.run("usage");
    expect(await stateOf(id)).toEqual([]);
    await context.SubscriptionService.upsert(id, { planId: "Basic" });
    await context.JobService.run("usage");
    expect(await stateOf(id)).toEqual(["bookings 80 true"]);
    expect(await percentOf(id)).toBe(95);
    await context.GrantService.create(id, { kind: "limit", key: "bookings", value: 9_000 });
    await context.JobService.run("usage");
    expect(await stateOf(id)).toEqual(["bookings 80 false"]);
    expect(await eventsOf(id)).toEqual([["usage.alert", 80, 95], ["usage.alert.resolved", 80, 9]]);
  });

  it("U15: is the same with a clock that moves on with each reading", async () => {
    let nowMs = context.clock.now();
    const container = await createContainer({ store: context.store, clock: { now: () => nowMs += 3 }, logger: silentLogger });
    const services = container.services({ actor: ADMIN, tenantId: null, requestId: "req_moving", clock: { now: () => nowMs += 3 } });
    const { id } = await context.tenant({ plan: "Trial" });
    for (let i = 0; i < 11; i++) await services.UsageService.increment(id, "bookings", 10);
    await services.UsageService.record(id, "bookings", 5);
    expect(await stateOf(id)).toEqual(["bookings 80 false", "bookings 100 false"]);
    expect((await eventsOf(id)).map(([type]) => type)).toEqual([
      "usage.alert",
      "usage.alert",
      "usage.alert.resolved",
      "usage.alert.resolved",
    ]);
    expect(await percentOf(id)).toBe(5);
  });
});

describe("an alert", () => {
  it("U15: that a caller resolves stays resolved until usage was below the threshold", async () => {
    const { id } = await context.tenant({ plan: "Trial" });
    await context.UsageService.increment(id, "bookings", 85);
    const [{ id: alertId } = { id: "" }] = await alertsOf(id);
    const resolved = await context.AlertService.resolve(id, alertId);
    expect(resolved).toMatchObject({ triggered: false, resolution: "caller", resolvedAt: context.clock.iso() });
    expect(await context.AlertService.resolve(id, `alert:${id}:${alertId}`)).toEqual(resolved);
    await context.JobService.run("usage");
    await context.UsageService.increment(id, "bookings", 1);
    expect(await stateOf(id)).toEqual(["bookings 80 false"]);
    await context.UsageService.increment(id, "bookings", -10);
    await context.UsageService.increment(id, "bookings", 10);
    expect(await stateOf(id)).toEqual(["bookings 80 true"]);
    expect(await eventsOf(id)).toEqual([["usage.alert", 80, 85], ["usage.alert.resolved", 80, 85]]);
    expect((await context.auditOf(id)).map(({ action }) => action).filter((action) => String(action).startsWith("usage.alert")))
      .toEqual(["usage.alert", "usage.alert.resolved", "usage.alert.resolved", "usage.alert"]);
    expect(await context.AlertService.resolve(id, "alert_none")).toBeNull();
  });

  it("U15: is listed and filtered, shown open in the overview, and another tenant's is not found", async () => {
    const [{ id }, other] = [await context.tenant({ plan: "Trial" }), await context.tenant()];
    await context.UsageService.increment(id, "bookings", 100);
    await context.UsageService.record(id, "rooms", 20);
    await context.UsageService.record(id, "rooms", 16);
    const found = async (filters: Parameters<typeof context.AlertService.list>[1]) =>
      (await context.AlertService.list(id, filters)).data.map(({ metric, threshold }) => `${metric} ${threshold}`).toSorted();
    expect(await found({ triggered: [false] })).toEqual(["rooms 100"]);
    expect(await found({ metric: ["bookings"] })).toEqual(["bookings 100", "bookings 80"]);
    expect(await found({ threshold: [80] })).toEqual(["bookings 80", "rooms 80"]);
    expect(await found({ period: ["2026-02"] })).toEqual([]);
    const overview = await context.TenantService.overview(id);
    expect(overview?.alerts.map(({ metric, threshold }) => `${metric} ${threshold}`).toSorted()).toEqual([
      "bookings 100",
      "bookings 80",
      "rooms 80",
    ]);
    const [{ id: alertId } = { id: "" }] = await alertsOf(id);
    expect(await context.AlertService.get(other.id, alertId)).toBeNull();
    expect(await context.AlertService.resolve(other.id, `alert:${id}:${alertId}`)).toBeNull();
  });
});
