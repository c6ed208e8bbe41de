import { describe, expect, test } from "vitest";
import { plan } from "../../../shared/features/plans/entity.ts";
import { fits, judged } from "../../../shared/features/usage/policies.ts";
import { usageRecord } from "../../../shared/features/usage/entity.ts";
import {
  corrected,
  highestPercentage,
  isOverLimit,
  limitedMetrics,
  limitOf,
  lowered,
  plus,
  thresholdsReached,
  usagePercentage,
  viewOf,
} from "../../../shared/features/usage/rules.ts";

const HARD = { policy: "hard", gracePercent: 0 } as const;

describe("usage against a limit", () => {
  test.each([
    // current, limit, percentage, over, one more allowed, remaining
    [0, 100, 0, false, true, 100],
    [1, 1_000, 0, false, true, 999],
    [5, 1_000, 1, false, true, 995],
    [99, 100, 99, false, true, 1],
    [100, 100, 100, true, false, 0],
    [101, 100, 100, true, false, 0],
    [1_000_000, 100, 100, true, false, 0],
    [999, 1_000, 100, false, true, 1],
    [0, 0, 100, true, false, 0],
    [1, 0, 100, true, false, 0],
    [0, 1, 0, false, true, 1],
    [1, 1, 100, true, false, 0],
    [0, null, 0, false, true, null],
    [1e15, null, 0, false, true, null],
  ])("U06: %d of %s is %d %%, over: %s, one more allowed: %s, remaining: %s", (current, limit, percentage, over, allowed, remaining) => {
    expect(usagePercentage(current, limit)).toBe(percentage);
    expect(isOverLimit(current, limit)).toBe(over);
    expect(judged({ current, limit }, 1, HARD)).toMatchObject({ allowed, remaining });
  });

  test.each([
    [90, 100, 10, true],
    [90, 100, 11, false],
    [100, 100, 0, true],
    [101, 100, 0, false],
    [0, 0, 0, true],
    [0.5, 1, 0.5, true],
  ])("U06: at %d of %d, %d more are allowed: %s", (current, limit, amount, allowed) => {
    expect(fits({ current, limit }, amount, HARD)).toBe(allowed);
  });

  test.each([
    // current, limit, thresholds reached
    [0, 100, 0],
    [79, 100, 0],
    [79.9, 100, 0],
    [80, 100, 1],
    [99.9, 100, 1],
    [100, 100, 2],
    [250, 100, 2],
    [7, 9, 0],
    [8, 9, 1],
    [0, 0, 0],
    [1, 0, 2],
    [1e15, null, 0],
  ])("U06: %d of %s reaches %d of the thresholds 80 and 100 %%, unrounded", (current, limit, reached) => {
    expect(thresholdsReached({ current, limit })).toBe(reached);
  });

  test.each([
    [90_071_992_547_409, 112_589_990_684_262, 0],
    [90_071_992_547_410, 112_589_990_684_262, 1],
    [9_007_199_254_740_991, 9_007_199_254_740_991, 2],
    [7_205_759_403_792_792, 9_007_199_254_740_991, 0],
    [7_205_759_403_792_793, 9_007_199_254_740_991, 1],
  ])("U06: %d of %d reaches %d of the thresholds exactly, also where a product exceeds 2^53", (current, limit, reached) => {
    expect(thresholdsReached({ current, limit })).toBe(reached);
  });

  test("every metric has its limit in a plan, and customDomains is a limit but no metric", () => {
    const limits = plan.schema.parse(plan.example).limits;
    const metrics = ["users", "properties", "rooms", "bookings", "api_calls", "storage"];
    expect(limitedMetrics(limits)).toEqual(metrics);
    expect(metrics.map((metric) => limitOf(limits, metric))).toEqual([50, 10, 500, 10_000, 1_000_000, 107_374_182_400]);
    expect(["guests", "toString", "constructor", "Users"].map((metric) => limitOf(limits, metric))).toEqual([null, null, null, null]);
  });
});

describe("a corrected counter", () => {
  const record = usageRecord.schema.parse({ ...usageRecord.example, current: 130, daily: { "2026-01-01": 100, "2026-01-02": 30 } });

  test.each([
    [150, "2026-01-02", { "2026-01-01": 100, "2026-01-02": 50 }],
    [120, "2026-01-02", { "2026-01-01": 100, "2026-01-02": 20 }],
    [90, "2026-01-02", { "2026-01-01": 100, "2026-01-02": -10 }],
    [130.25, "2026-01-03", { "2026-01-01": 100, "2026-01-02": 30, "2026-01-03": 0.25 }],
  ])("U04: set to %d on %s keeps days that add up to it", (current, day, daily) => {
    const after = corrected(record, current, day, null);
    expect(after).toMatchObject({ current, daily });
    expect(after).not.toHaveProperty("hourly");
    expect(Object.values(after.daily).reduce(plus)).toBe(current);
  });

  test("U21: keeps hours that add up to its days", () => {
    const hours = { ...record, hourly: { "2026-01-01T08": 100, "2026-01-02T23": 30 } };
    const after = corrected(hours, 90, "2026-01-02", "2026-01-02T23");
    expect(after).toMatchObject({ current: 90, daily: { "2026-01-02": -10 }, hourly: { "2026-01-01T08": 100, "2026-01-02T23": -10 } });
  });

  test.each([[10, -10, 0], [0.3, -0.1, 0.2], [5, -0.000001, 4.999999]])("U04: %d plus %d is %d", (current, amount, rest) => {
    expect(lowered("bookings", current, amount)).toBe(rest);
  });

  test("U04: never goes below zero, nor to a sum that a double cannot represent", () => {
    expect(() => lowered("bookings", 3, -4)).toThrowError(expect.objectContaining({
      code: "usage_below_zero",
      status: 409,
      message: "The usage of bookings is less than 4, and usage cannot be negative. Nothing was changed.",
    }));
    expect(() => lowered("bookings", 1e15, -0.000001)).toThrowError(expect.objectContaining({
      code: "validation_failed",
      fields: [{ path: "/amount", message: "must give a sum of at most 2^53 - 1 that a double represents exactly", code: "inexact_sum" }],
    }));
  });
});

describe("usage as callers see it", () => {
  const record = usageRecord.schema.parse({ ...usageRecord.example, current: 30, limit: 40 });
  const at = "2026-01-01T00:00:00.000Z";
  const metric = { unit: "bytes", kind: "gauge", policy: "soft", createdAt: at, updatedAt: at, version: "3" } as const;

  test.each(
    [
      ["counter", "2026-02-01T00:00:00.000Z"],
      ["gauge", null],
    ] as const,
  )("U06: of a %s that resets at %s has the unit, the percentage and the version", (kind, resetsAt) => {
    expect(viewOf(record, { ...metric, kind }, "7")).toEqual({
      ...record,
      unit: "bytes",
      kind,
      policy: "soft",
      percentage: 75,
      overLimit: false,
      resetsAt,
      version: "7",
    });
    expect(viewOf(record, { ...metric, kind }, null).version).toBeNull();
  });

  test("H05: has another version once its metric was changed, since the unit is the metric's", () => {
    const renamed = { ...metric, unit: "GiB", updatedAt: "2026-01-02T00:00:00.000Z", version: "9" };
    expect(viewOf(record, renamed, "7")).toMatchObject({ unit: "GiB", version: "7-9" });
    expect(viewOf(record, renamed, null).version).toBeNull();
  });

  test.each([[[], 0], [[0], 0], [[20, 95, 40], 95], [[100, 3], 100]])(
    "U06: a tenant with metrics at %j %% is at %d %%",
    (each, highest) => {
      expect(highestPercentage(each.map((percentage) => ({ percentage })))).toBe(highest);
    },
  );
});
