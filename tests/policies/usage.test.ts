import { describe, expect, test } from "vitest";
import { plan } from "../../shared/entities/plan.ts";
import {
  checkAmount,
  highestPercentage,
  isOverLimit,
  isUsageMetric,
  limitOf,
  reachesThreshold,
  USAGE_METRICS,
  usagePercentage,
} from "../../shared/policies/usage.ts";

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
    expect(checkAmount(current, limit, 1)).toEqual({ allowed, remaining });
  });

  test.each([
    [90, 100, 10, true],
    [90, 100, 11, false],
    [100, 100, 0, true],
    [101, 100, 0, false],
    [0, 0, 0, true],
    [0.5, 1, 0.5, true],
  ])("U06: at %d of %d, %d more are allowed: %s", (current, limit, amount, allowed) => {
    expect(checkAmount(current, limit, amount).allowed).toBe(allowed);
  });

  test.each([
    [79, 100, 80, false],
    [80, 100, 80, true],
    [799, 1_000, 80, false],
    [999, 1_000, 100, false],
    [1_000, 1_000, 100, true],
    [0, 0, 100, true],
    [1e15, null, 80, false],
  ])("U06: %d of %s reaches %d %%: %s, where the rounded percentage would be early", (current, limit, threshold, reached) => {
    expect(reachesThreshold(current, limit, threshold)).toBe(reached);
  });

  test("U06: a tenant's percentage is that of its fullest metric", () => {
    expect(highestPercentage([])).toBe(0);
    expect(highestPercentage([{ current: 9, limit: null }, { current: 1, limit: 4 }, { current: 1, limit: 2 }])).toBe(50);
    expect(highestPercentage([{ current: 7, limit: 3 }, { current: 1, limit: 2 }])).toBe(100);
  });

  test("every metric has its limit in a plan, and customDomains is a limit but no metric", () => {
    const limits = plan.schema.parse(plan.example).limits;
    expect(USAGE_METRICS.map((metric) => limitOf(limits, metric))).toEqual([50, 10, 500, 10_000, 1_000_000, 107_374_182_400]);
    expect(USAGE_METRICS.every(isUsageMetric)).toBe(true);
    expect(["customDomains", "toString", "", "Users"].some(isUsageMetric)).toBe(false);
  });
});
