import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { plan } from "../../shared/features/plans/entity.ts";
import { tenant } from "../../shared/features/tenants/entity.ts";
import { monthlyRevenue } from "../../shared/core/money.ts";
import { seededRandom } from "../support/random.ts";

describe("monthly revenue of a plan", () => {
  test.each(
    [
      ["monthly", 29_900, 299],
      ["monthly", 9_999, 99.99],
      ["monthly", 0, 0],
      ["monthly", 1, 0.01],
      ["yearly", 120_000, 100],
      ["yearly", 299_900, 249.92],
      ["yearly", 100_000, 83.33],
      ["yearly", 0, 0],
    ] as const,
  )("B17: a %s price of %i minor units brings %d a month", (interval, price, mrr) => {
    expect(monthlyRevenue({ price, interval })).toBe(mrr);
  });

  test.each([
    [5, 0],
    [6, 0.01],
    [17, 0.01],
    [18, 0.02],
    [30, 0.03],
    [100_001, 83.33],
    [100_002, 83.34],
  ])("B17: a yearly price of %i minor units is rounded half up to %d", (price, mrr) => {
    expect(monthlyRevenue({ price, interval: "yearly" })).toBe(mrr);
  });

  test("B17: a year's twelfth is the exact quotient rounded half up, and a storable mrr, for every price", () => {
    const price = fc.oneof(fc.nat({ max: 10_000_000 }), fc.nat({ max: Number.MAX_SAFE_INTEGER }));
    fc.assert(
      fc.property(price, (minor) => {
        const mrr = monthlyRevenue({ price: minor, interval: "yearly" });
        const exact = (2n * BigInt(minor) + 12n) / 24n;
        expect(mrr).toBe(Number(exact) / 100);
        if (mrr <= 1e12) expect(tenant.schema.shape.mrr.safeParse(mrr).success).toBe(true);
      }),
      { seed: seededRandom("yearly prices").seed, numRuns: 2_000 },
    );
  });
});

describe("amounts", () => {
  test.each([99.5, -1, "9900", 2 ** 53, Number.NaN, null])("B01: a plan's price is integer minor units; %j is refused", (price) => {
    expect(plan.schema.safeParse({ ...plan.example, price }).success).toBe(false);
  });

  test.each(["usd", "US", "EURO", ""])("B01: a currency is an ISO 4217 code; %j is refused", (currency) => {
    expect(plan.schema.safeParse({ ...plan.example, currency }).success).toBe(false);
  });

  test.each([
    [299, true],
    [0, true],
    [249.92, true],
    [0.1 + 0.2, false],
    [99.999, false],
    [-1, false],
  ])("B01: an mrr of %d has at most 2 decimals and is not negative: %s", (mrr, fine) => {
    expect(tenant.schema.safeParse({ ...tenant.example, mrr }).success).toBe(fine);
  });
});
