import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DEFAULT_METRICS } from "../../../shared/features/metrics/default-metrics.ts";
import type { IfMatch } from "../../../shared/kernel/version.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

describe("reading usage", () => {
  it("U01: a metric never used in a period reads as zero with the plan's limit and writes nothing", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    expect(await context.UsageService.get(id, "rooms", "2025-07")).toMatchObject({
      id: `usage:${id}:rooms:2025-07`,
      tenantId: id,
      metric: "rooms",
      period: "2025-07",
      current: 0,
      limit: 60,
      percentage: 0,
      daily: {},
      resetsAt: null,
      unit: "rooms",
      kind: "gauge",
    });
    expect(await context.store.get(`usage:${id}:rooms:2025-07`)).toBeNull();
    expect(await context.UsageService.get("tn_none", "rooms")).toBeNull();
    expect(await context.UsageService.isOverLimit("tn_none", "rooms")).toBe(false);
  });

  it("U02: one call returns every metric of that period and of no other, with limit, percentage and reset", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.UsageService.record(id, "rooms", 30, 60, "2026-01");
    await context.UsageService.record(id, "rooms", 45, 60, "2026-02");
    const january = await context.UsageService.getAll(`tenant:${id}`, "2026-01");
    const resets = { gauge: null, counter: "2026-02-01T00:00:00.000Z" };
    const expected = DEFAULT_METRICS.map(({ id, unit, kind }) => ({ metric: id, unit, kind, resetsAt: resets[kind], period: "2026-01" }));
    expect(january).toMatchObject(expected.toSorted((a, b) => a.metric < b.metric ? -1 : 1));
    expect(january.find(({ metric }) => metric === "rooms")).toMatchObject({ current: 30, limit: 60, percentage: 50 });
    expect(await codeOf(context.UsageService.getAll("tn_none"))).toBe("not_found");
  });

  it("U02: an unknown metric and an invalid period are refused by name", async () => {
    const { id } = await context.tenant();
    for (const metric of ["beds", "customDomains", "constructor"]) {
      expect(await codeOf(context.UsageService.get(id, metric)), metric).toBe("not_found");
      expect(await codeOf(context.UsageService.increment(id, metric)), metric).toBe("not_found");
    }
    for (const period of ["2026", "2026-13", "2026-1", "", "2026-01-01", "1999-12", "2027-04"]) {
      await expect(context.UsageService.getAll(id, period), period).rejects.toMatchObject({
        code: "invalid_parameter",
        fields: [{ path: "period", message: "must be a month from 2000-01 to 2027-03, such as 2026-03" }],
      });
      await expect(context.UsageService.increment(id, "rooms", 1, undefined, period), period).rejects.toMatchObject({
        code: "validation_failed",
        fields: [{ path: "/period" }],
      });
    }
    for (const period of ["2000-01", "2027-03"]) expect((await context.UsageService.get(id, "bookings", period))?.current).toBe(0);
  });
});

describe("metering", () => {
  it("U03: 8 clients × 200 increments add exactly 1,600, each returning its new value", async () => {
    const { id } = await context.tenant();
    const stores = await context.racers(8);
    const answers = await Promise.all(stores.map(async (store) => {
      const { UsageService } = context.over(store);
      const values: number[] = [];
      for (let i = 0; i < 200; i++) values.push((await UsageService.increment(id, "api_calls", 1)).current);
      return values;
    }));
    const values = answers.flat().sort((a, b) => a - b);
    expect(values).toEqual(Array.from({ length: 1_600 }, (_, i) => i + 1));
    const usage = await context.UsageService.get(id, "api_calls");
    expect(usage).toMatchObject({ current: 1_600, daily: { "2026-03-01": 1_600 } });
  });

  it("U03: concurrent first increments of a period create one record with the plan's limit", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    const stores = await context.racers(10);
    for (let month = 1; month <= 12; month++) {
      const period = `${month < 10 ? 2026 : 2027}-${String((month + 2) % 12 + 1).padStart(2, "0")}`;
      await Promise.all(stores.map((store) => context.over(store).UsageService.increment(id, "bookings", 2, undefined, period)));
      expect(await context.UsageService.get(id, "bookings", period)).toMatchObject({ current: 20, limit: 1_000 });
    }
  });

  it("U03: metering changes neither the tenant's version nor the audit log", async () => {
    const created = await context.tenant();
    await context.UsageService.increment(created.id, "api_calls", 5, 10);
    await context.UsageService.record(created.id, "rooms", 5, 10);
    expect(await context.TenantService.get(created.id)).toEqual(created);
    expect(await context.auditOf(created.id)).toHaveLength(1);
  });

  it("U04: record sets and increment adds, on every metric, with the day's amount beside", async () => {
    const { id } = await context.tenant();
    for (const { id: metric } of DEFAULT_METRICS) {
      await context.UsageService.record(id, metric, 10, 100);
      await context.UsageService.increment(id, metric, 5, 200);
      expect(await context.UsageService.get(id, metric)).toMatchObject({ current: 15, limit: 200, daily: { "2026-03-01": 15 } });
      await context.UsageService.record(id, metric, 3, null);
      expect(await context.UsageService.get(id, metric)).toMatchObject({ current: 3, limit: null, daily: { "2026-03-01": 3 } });
    }
  });

  it("U04: 20 concurrent writes of a gauge all succeed and leave one of their values", async () => {
    const { id } = await context.tenant();
    const stores = await context.racers(20);
    await Promise.all(stores.map((store, i) => context.over(store).UsageService.record(id, "storage", 100 + i, 1_000)));
    const usage = await context.UsageService.get(id, "storage");
    expect(usage?.current).toBeGreaterThanOrEqual(100);
    expect(usage?.daily["2026-03-01"]).toBe(usage?.current);
  });

  it("U04: a new day and a new month are counted separately", async () => {
    const { id } = await context.tenant();
    context.clock.set("2026-03-30T23:59:59.999Z");
    await context.UsageService.increment(id, "bookings", 1);
    context.clock.set("2026-03-31T00:00:00.000Z");
    await context.UsageService.increment(id, "bookings", 2);
    context.clock.set("2026-04-01T00:00:00.000Z");
    await context.UsageService.increment(id, "bookings", 4);
    expect(await context.UsageService.get(id, "bookings", "2026-03")).toMatchObject({
      current: 3,
      daily: { "2026-03-30": 1, "2026-03-31": 2 },
    });
    expect(await context.UsageService.get(id, "bookings")).toMatchObject({
      period: "2026-04",
      current: 4,
      daily: { "2026-04-01": 4 },
      limit: 10_000,
    });
    context.clock.set("2026-04-02T12:00:00.000Z");
  });

  it("U04: amounts that are not numbers, or out of bounds, are refused", async () => {
    const { id } = await context.tenant();
    for (const amount of [Number.NaN, Number.POSITIVE_INFINITY, 1e13, "1" as unknown as number]) {
      expect(await codeOf(context.UsageService.increment(id, "rooms", amount)), String(amount)).toBe("validation_failed");
    }
    for (const value of [-1, Number.NaN, 1e16]) {
      expect(await codeOf(context.UsageService.record(id, "rooms", value, 1)), String(value)).toBe("validation_failed");
    }
    expect(await codeOf(context.UsageService.record(id, "rooms", 1, -1))).toBe("validation_failed");
    expect(await codeOf(context.UsageService.record(id, "rooms", 5e-324))).toBe("validation_failed");
    expect(await codeOf(context.UsageService.check(id, "rooms", 1e-7))).toBe("validation_failed");
    expect((await context.UsageService.get(id, "rooms"))?.current).toBe(0);
  });

  it("U04: usage of a missing or deleted tenant is refused and creates no record", async () => {
    const { id } = await context.tenant();
    await context.TenantService.delete(id);
    expect(await codeOf(context.UsageService.increment("tn_none", "rooms", 1))).toBe("not_found");
    expect(await codeOf(context.UsageService.increment(id, "rooms", 1))).toBe("not_found");
    expect((await context.dump("usage")).filter(({ key }) => key.includes("tn_none") || key.includes(id))).toEqual([]);
  });

  it("U06: over, percentage and check agree at limit - 1, limit, limit + 1, unlimited and 0", async () => {
    const { id } = await context.tenant();
    const cases: [current: number, limit: number | null, over: boolean, percentage: number, remaining: number | null][] = [
      [0, 10, false, 0, 10],
      [9, 10, false, 90, 1],
      [10, 10, true, 100, 0],
      [11, 10, true, 100, 0],
      [0, 0, true, 100, 0],
      [5, 0, true, 100, 0],
      [0, null, false, 0, null],
      [1_000_000, null, false, 0, null],
      [1, 3, false, 33, 2],
      [2, 3, false, 67, 1],
    ];
    for (const [current, limit, over, percentage, remaining] of cases) {
      const usage = await context.UsageService.record(id, "users", current, limit);
      const what = `${current} of ${limit}`;
      expect(usage.percentage, what).toBe(percentage);
      expect(await context.UsageService.isOverLimit(id, "users"), what).toBe(over);
      expect(await context.UsageService.check(id, "users", 1), what).toMatchObject({
        allowed: !over,
        current,
        limit,
        remaining,
        percentage,
      });
    }
    await context.UsageService.record(id, "users", 8, 10);
    expect((await context.UsageService.check(id, "users", 2)).allowed).toBe(true);
    expect((await context.UsageService.check(id, "users", 3)).allowed).toBe(false);
  });
});

describe("an increment with an idempotency key", () => {
  it("U08: sent 100 times counts once and returns the same result, and another payload with the key is refused", async () => {
    const { id } = await context.tenant();
    for (let i = 0; i < 100; i++) {
      expect((await context.UsageService.increment(id, "api_calls", 7, undefined, undefined, { idempotencyKey: "event-1" })).current).toBe(
        7,
      );
    }
    expect(await codeOf(context.UsageService.increment(id, "api_calls", 8, undefined, undefined, { idempotencyKey: "event-1" }))).toBe(
      "idempotency_mismatch",
    );
    expect(await codeOf(context.UsageService.increment(id, "rooms", 7, undefined, undefined, { idempotencyKey: "event-1" }))).toBe(
      "idempotency_mismatch",
    );
    await context.UsageService.increment(id, "api_calls", 7, undefined, undefined, { idempotencyKey: "event-2" });
    expect((await context.UsageService.get(id, "api_calls"))?.current).toBe(14);
  });

  it("U08: is refused if the key is empty or too long", async () => {
    const { id } = await context.tenant();
    for (const idempotencyKey of ["", "k".repeat(256)]) {
      const refused = context.UsageService.increment(id, "rooms", 1, undefined, undefined, { idempotencyKey });
      await expect(refused).rejects.toMatchObject({ code: "validation_failed", fields: [{ path: "/idempotencyKey" }] });
    }
  });

  it("U08: without a limit is another request than with a limit of null", async () => {
    const { id } = await context.tenant();
    for (const metric of ["rooms", "api_calls"]) {
      const options = { idempotencyKey: `lift-${metric}` };
      await context.UsageService.record(id, metric, 5, undefined, undefined, options);
      expect(await codeOf(context.UsageService.record(id, metric, 5, null, undefined, options))).toBe("idempotency_mismatch");
    }
  });

  it("U08: sent 100 times concurrently by 10 processes, among other counts, counts once", async () => {
    const { id } = await context.tenant();
    const stores = await context.racers(10);
    const sends = stores.flatMap((store) =>
      Array.from(
        { length: 10 },
        () => context.over(store).UsageService.increment(id, "bookings", 3, undefined, undefined, { idempotencyKey: "burst" }),
      )
    );
    const others = stores.map((store) => context.over(store).UsageService.increment(id, "bookings", 10));
    await Promise.all([...sends, ...others]);
    expect((await context.UsageService.get(id, "bookings"))?.current).toBe(103);
  });

  it("U08: each caller has keys of its own, whose records belong to the tenant", async () => {
    const { id } = await context.tenant();
    const { UsageService } = context.as({ actor: { type: "api_key", id: "key-1" } });
    for (let i = 0; i < 3; i++) await UsageService.increment(id, "rooms", 1, undefined, undefined, { idempotencyKey: "mine" });
    await context.UsageService.increment(id, "rooms", 1, undefined, undefined, { idempotencyKey: "mine" });
    expect((await context.UsageService.get(id, "rooms"))?.current).toBe(2);
    expect((await context.dump("idem")).some(({ tenantId }) => tenantId === id)).toBe(true);
  });
});

describe("a count with a version to check", () => {
  it("H05: of 8 concurrent ones with the same version exactly one counts and the others are refused, for gauges and counters", async () => {
    const { id } = await context.tenant();
    const stores = await context.racers(8);
    const ways = [
      (store: Store, ifMatch: string[]) => context.over(store).UsageService.increment(id, "rooms", 5, undefined, undefined, { ifMatch }),
      (store: Store, ifMatch: string[]) => context.over(store).UsageService.record(id, "rooms", 5, 9, undefined, { ifMatch }),
    ];
    for (const count of ways) {
      const { version } = await context.UsageService.record(id, "rooms", 0);
      const codes = await Promise.all(stores.map((store) => codeOf(count(store, [version ?? ""]))));
      expect(codes.filter((code) => code.startsWith("no error")), codes.join()).toHaveLength(1);
      expect(new Set(codes.filter((code) => !code.startsWith("no error")))).toEqual(new Set(["precondition_failed"]));
      expect((await context.UsageService.get(id, "rooms"))?.current).toBe(5);
    }
  });

  it("H05: returns the record and version after this count, and counts nothing if there is no record yet", async () => {
    const { id } = await context.tenant();
    const counted = await context.UsageService.increment(id, "rooms", 2, undefined, undefined, { ifMatch: "*" });
    expect(counted).toMatchObject({ current: 2 });
    expect(counted).toEqual(await context.UsageService.get(id, "rooms"));
    const inPast = (ifMatch: IfMatch) => context.UsageService.record(id, "rooms", 1, undefined, "2025-07", { ifMatch });
    expect([await codeOf(inPast("*")), await codeOf(inPast(["1"]))]).toEqual(["precondition_failed", "precondition_failed"]);
    expect(await context.store.get(`usage:${id}:rooms:2025-07`)).toBeNull();
    expect(await codeOf(context.UsageService.record("tn_none", "rooms", 1, undefined, undefined, { ifMatch: "*" }))).toBe("not_found");
  });

  it("H05: with an idempotency key too, returns the same result again after its own count changed the version", async () => {
    const { id } = await context.tenant();
    const { version } = await context.UsageService.record(id, "rooms", 1);
    const send = () =>
      context.UsageService.increment(id, "rooms", 1, undefined, undefined, { ifMatch: [version ?? ""], idempotencyKey: "once" });
    expect((await send()).current).toBe(2);
    expect((await send()).current).toBe(2);
  });
});
