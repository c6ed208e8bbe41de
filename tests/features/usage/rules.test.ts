import { describe, expect, test } from "vitest";
import { plan } from "../../../shared/features/plans/entity.ts";
import { checkAmount, isOverLimit, isUsageMetric, limitOf, USAGE_METRICS, usagePercentage } from "../../../shared/features/usage/rules.ts";

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

  test("every metric has its limit in a plan, and customDomains is a limit but no metric", () => {
    const limits = plan.schema.parse(plan.example).limits;
    expect(USAGE_METRICS.map((metric) => limitOf(limits, metric))).toEqual([50, 10, 500, 10_000, 1_000_000, 107_374_182_400]);
    expect(USAGE_METRICS.every(isUsageMetric)).toBe(true);
    expect(["customDomains", "toString", "", "Users"].some(isUsageMetric)).toBe(false);
  });
});
