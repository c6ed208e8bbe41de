import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { maxPrice, monthlyRevenue, priceFault } from "../../shared/core/money.ts";
import { plan } from "../../shared/features/plans/entity.ts";
import { tenant } from "../../shared/features/tenants/entity.ts";
import { isCurrency, minorDigits } from "../../shared/kernel/currencies.ts";
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
    expect(monthlyRevenue({ price, currency: "USD", interval })).toBe(mrr);
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
    expect(monthlyRevenue({ price, currency: "USD", interval: "yearly" })).toBe(mrr);
  });

  test("B17: a year's twelfth is the exact quotient rounded half up, and a storable mrr, for every price", () => {
    const price = fc.oneof(fc.nat({ max: 10_000_000 }), fc.nat({ max: Number.MAX_SAFE_INTEGER }));
    fc.assert(
      fc.property(price, (minor) => {
        const mrr = monthlyRevenue({ price: minor, currency: "USD", interval: "yearly" });
        const exact = (2n * BigInt(minor) + 12n) / 24n;
        expect(mrr).toBe(Number(exact) / 100);
        if (mrr <= 1e12) expect(tenant.schema.shape.mrr.safeParse(mrr).success).toBe(true);
      }),
      { seed: seededRandom("yearly prices").seed, numRuns: 2_000 },
    );
  });
});

describe("currencies of other digits", () => {
  test.each(
    [
      ["JPY", "monthly", 100_000, 100_000],
      ["JPY", "monthly", 1, 1],
      ["JPY", "yearly", 100_000, 8_333],
      ["JPY", "yearly", 6, 1],
      ["JPY", "yearly", 5, 0],
      ["JPY", "monthly", 1_000_000_000_000, 1_000_000_000_000],
      ["KWD", "monthly", 1_234_567, 1_234.57],
      ["KWD", "monthly", 4, 0],
      ["KWD", "monthly", 5, 0.01],
      ["KWD", "monthly", 14, 0.01],
      ["KWD", "yearly", 12_000, 1],
      ["KWD", "yearly", 175, 0.01],
      ["KWD", "yearly", 180, 0.02],
      ["USD", "yearly", 9_999, 8.33],
      ["USD", "monthly", 100_000_000_000_000, 1_000_000_000_000],
      ["MGA", "monthly", 12_345, 123.45],
      ["MRU", "monthly", 12_345, 123.45],
      ["IDR", "monthly", 12_345, 123.45],
      ["CLF", "monthly", 12_345, 1.23],
      ["CLF", "monthly", 12_350, 1.24],
      ["CLF", "yearly", 600, 0.01],
      ["CLF", "yearly", 599, 0],
      ["KWD", "monthly", 100_000_000_000_000, 100_000_000_000],
    ] as const,
  )("B17: in %s a %s price of %i minor units brings %d a month", (currency, interval, price, mrr) => {
    expect(monthlyRevenue({ price, currency, interval })).toBe(mrr);
    expect(tenant.schema.shape.mrr.safeParse(mrr).success).toBe(true);
  });

  test("B17: in every currency a price up to its highest brings a storable mrr, the exact quotient rounded half up once", () => {
    const price = fc.record({
      currency: fc.constantFrom("JPY", "USD", "KWD", "CLF"),
      interval: fc.constantFrom("monthly" as const, "yearly" as const),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(price, ({ currency, interval, part }) => {
        const minor = Math.floor(part * maxPrice(currency));
        const digits = minorDigits(currency);
        const decimals = Math.min(2, digits);
        const divisor = (interval === "yearly" ? 12n : 1n) * 10n ** BigInt(digits - decimals);
        const mrr = monthlyRevenue({ price: minor, currency, interval });
        expect(mrr).toBe(Number((2n * BigInt(minor) + divisor) / (2n * divisor)) / 10 ** decimals);
        expect(tenant.schema.shape.mrr.safeParse(mrr).success).toBe(true);
      }),
      { seed: seededRandom("prices of all currencies").seed, numRuns: 2_000 },
    );
  });

  test.each([["JPY", 1e12], ["USD", 1e14], ["KWD", 1e14], ["CLF", 1e14]])("B01: the highest price in %s is %i", (currency, highest) => {
    expect(priceFault({ price: highest, currency, interval: "yearly" })).toBeNull();
    expect(priceFault({ price: highest + 1, currency, interval: "yearly" })).toEqual({
      path: "/price",
      message: `must be at most ${highest}, in the minor unit of ${currency}`,
      code: "too_big",
    });
  });

  test.each([
    [0, ["BIF", "CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"]],
    [2, ["USD", "EUR", "GBP", "HUF", "IDR", "MGA", "MRU", "XCG", "ZWG", "SLE", "VED", "VES", "AED", "CHF", "CRC", "CUP", "KPW", "PGK"]],
    [3, ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]],
    [4, ["CLF", "UYW"]],
  ])("B01: the minor unit has %i digits in %j", (digits, codes) => {
    for (const code of codes) expect(minorDigits(code), code).toBe(digits);
  });

  test.each(["ANG", "BGN", "CUC", "DEM", "HRK", "SLL", "ZWL", "XAU", "XDR", "XTS", "XUA", "ABC", "usd", "__proto__", "constructor", ""])(
    "B01: %j is not a currency in use",
    (code) => {
      expect(isCurrency(code)).toBe(false);
      const { error } = plan.schema.shape.currency.safeParse(code);
      expect(error?.issues).toMatchObject([{ message: "must be an ISO 4217 currency code in use, such as USD, EUR or JPY" }]);
      expect(() => minorDigits(code)).toThrowError("minorDigits takes an ISO 4217 currency code in use");
    },
  );
});

describe("amounts", () => {
  test.each([99.5, -1, "9900", 2 ** 53, Number.NaN, null])("B01: a plan's price is integer minor units; %j is refused", (price) => {
    expect(plan.schema.safeParse({ ...plan.example, price }).success).toBe(false);
  });

  test.each(["usd", "US", "EURO", "XYZ", ""])("B01: a currency is an ISO 4217 code; %j is refused", (currency) => {
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
