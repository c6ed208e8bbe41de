import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { maxPrice } from "../../../shared/core/money.ts";
import { MAX_MINOR_UNITS } from "../../../shared/core/values.ts";
import { type Invoice, invoice, INVOICE_STATUSES, type InvoiceStatus, type LineInput } from "../../../shared/features/invoices/entity.ts";
import * as rules from "../../../shared/features/invoices/rules.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import { seededRandom } from "../../support/random.ts";

const NOW = "2026-03-01T12:00:00.000Z";
const line = (unitAmount: number, quantity = 1): LineInput => ({ description: "Pro", unitAmount, quantity });
const record = (given: Partial<Invoice> = {}): Invoice => ({ ...invoice.schema.parse(invoice.example), ...given });

/** The error that a call throws. */
function thrown(call: () => unknown): InnkeepError {
  try {
    call();
  } catch (error) {
    if (error instanceof InnkeepError) return error;
  }
  throw new Error("the call threw no InnkeepError");
}

const faultsOf = (input: rules.SumsInput, currency = "USD") =>
  thrown(() => rules.summed(input, currency)).fields.map(({ path, code }) => `${path} ${code}`);

describe("the sums of an invoice", () => {
  test("B15: are those of its lines and its tax, exactly, for 10,000 random baskets and taxes", () => {
    const { seed } = seededRandom("baskets");
    const basket = fc.array(
      fc.record({
        description: fc.constant("x"),
        quantity: fc.integer({ min: 1, max: 1e6 }),
        unitAmount: fc.integer({ min: -1e6, max: 1e7 }),
      }),
      { minLength: 1, maxLength: 250 },
    );
    let refused = 0;
    fc.assert(
      fc.property(basket, fc.integer({ min: 0, max: 1e12 }), (lineItems, tax) => {
        const expected = lineItems.reduce((sum, { quantity, unitAmount }) => sum + BigInt(quantity) * BigInt(unitAmount), 0n);
        if (expected < 0n || expected + BigInt(tax) > BigInt(MAX_MINOR_UNITS)) {
          refused++;
          return void expect(thrown(() => rules.summed({ lineItems, tax }, "USD")).code).toBe("validation_failed");
        }
        const sums = rules.summed({ lineItems, tax }, "USD");
        expect([BigInt(sums.amount), BigInt(sums.total)]).toEqual([expected, expected + BigInt(tax)]);
        expect(sums.total).toBe(sums.amount + sums.tax);
        expect(sums.lineItems.reduce((sum, { amount }) => sum + amount, 0)).toBe(sums.amount);
        expect(sums.lineItems.every(({ amount, quantity, unitAmount }) => amount === quantity * unitAmount)).toBe(true);
        expect(rules.summed(sums, "USD")).toEqual(sums);
      }),
      { numRuns: 10_000, seed },
    );
    expect(refused).toBeLessThan(5_000);
  });

  test("B15: are exact up to the highest amount, and one unit more is refused", () => {
    const highest = maxPrice("USD");
    expect(rules.summed({ lineItems: [line(highest - 1), line(1)] }, "USD")).toMatchObject({ amount: highest, total: highest });
    expect(rules.summed({ lineItems: [line(highest), line(-highest)], tax: highest }, "USD")).toMatchObject({ amount: 0, total: highest });
    expect(faultsOf({ lineItems: [line(highest), line(1)] })).toEqual(["/lineItems too_big"]);
    expect(faultsOf({ lineItems: [line(highest)], tax: 1 })).toEqual(["/tax too_big"]);
    expect(faultsOf({ lineItems: [line(1), line(highest, 2)] })).toEqual(["/lineItems/1/unitAmount too_big"]);
    expect(faultsOf({ lineItems: [line(highest, 1e9)] })).toEqual(["/lineItems/0/unitAmount too_big"]);
    expect(faultsOf({ lineItems: Array.from({ length: 250 }, () => line(highest)) })).toEqual(["/lineItems too_big"]);
  });

  test.each([["JPY", 1e12], ["USD", 1e14], ["KWD", 1e14]])(
    "B15: in %s are at most %d, in the minor unit of the currency",
    (currency, highest) => {
      expect(rules.summed({ lineItems: [line(highest)] }, currency).total).toBe(highest);
      expect(faultsOf({ lineItems: [line(highest), line(1)] }, currency)).toEqual(["/lineItems too_big"]);
    },
  );

  test("B15: that a caller sends are checked, and the error names each wrong one and the right value", () => {
    const lineItems = [{ ...line(100, 3), amount: 300 }, line(50)];
    expect(rules.summed({ lineItems, amount: 350, tax: 20, total: 370 }, "USD")).toMatchObject({ amount: 350, total: 370 });
    expect(faultsOf({ lineItems, amount: 351, tax: 20, total: 350 })).toEqual(["/amount wrong_sum", "/total wrong_sum"]);
    expect(faultsOf({ lineItems: [{ ...line(100, 3), amount: 100 }] })).toEqual(["/lineItems/0/amount wrong_sum"]);
    expect(thrown(() => rules.summed({ lineItems, total: 1 }, "USD")).message)
      .toBe("/total: must be amount + tax, which is 350");
  });

  test("B15: can include negative lines, such as the unused part of a period, but not fall below 0", () => {
    expect(rules.summed({ lineItems: [line(29900), line(-14950)] }, "USD")).toMatchObject({ amount: 14950 });
    expect(rules.summed({ lineItems: [line(-0)] }, "USD").lineItems.map(({ amount }) => Object.is(amount, 0))).toEqual([true]);
    expect(faultsOf({ lineItems: [line(100), line(-101)] })).toEqual(["/lineItems too_small"]);
  });

  test.each([
    [{ periodStart: NOW }, "/lineItems/0/periodEnd required"],
    [{ periodEnd: NOW }, "/lineItems/0/periodStart required"],
    [{ periodStart: NOW, periodEnd: NOW }, "/lineItems/0/periodEnd invalid_period"],
  ])("B14: refuse a line with the period %j", (period, fault) => {
    expect(faultsOf({ lineItems: [{ ...line(1), ...period }] })).toEqual([fault]);
  });
});

describe("an invoice", () => {
  const moves = { paid: "paidAt", failed: "failedAt", void: "voidedAt", refunded: "refundedAt" } as const;
  const allowed: Readonly<Record<InvoiceStatus, readonly string[]>> = {
    pending: ["paid", "failed", "void"],
    failed: ["paid", "void"],
    paid: ["refunded"],
    refunded: [],
    void: [],
  };
  const table = INVOICE_STATUSES.flatMap((from) => (Object.keys(moves) as (keyof typeof moves)[]).map((to) => [from, to] as const));

  test.each(table)("B14: that is %s changes to %s only if the state machine allows it", (from, to) => {
    const before = record({ status: from });
    if (from === to) return expect(rules.moved(before, to, NOW)).toBe(before);
    if (allowed[from].includes(to)) return expect(rules.moved(before, to, NOW)).toEqual({ ...before, status: to, [moves[to]]: NOW });
    const error = thrown(() => rules.moved(before, to, NOW));
    expect(error).toMatchObject({ code: "invalid_transition", details: { from, to, allowed: allowed[from] } });
    expect(error.message).toContain(`An invoice that is ${from} cannot become ${to}.`);
  });

  test("B14: is due 14 days after it is issued, or at the time that the caller sends, but not before it is issued nor more than 10 years later", () => {
    expect(rules.dueDateOf(undefined, NOW)).toBe("2026-03-15T12:00:00.000Z");
    expect(rules.dueDateOf(NOW, NOW)).toBe(NOW);
    expect(thrown(() => rules.dueDateOf("2026-03-01T11:59:59.999Z", NOW)).fields).toMatchObject([{ path: "/dueDate", code: "in_past" }]);
    expect(rules.dueDateOf("2036-02-27T12:00:00.000Z", NOW)).toBe("2036-02-27T12:00:00.000Z");
    expect(thrown(() => rules.dueDateOf("9999-12-31T23:59:59.999Z", NOW)).fields).toMatchObject([{ path: "/dueDate", code: "too_late" }]);
  });

  test("B14: is paid now or earlier, but neither in the future nor before 2000", () => {
    expect(rules.paymentTime(undefined, NOW)).toBe(NOW);
    expect(rules.paymentTime("2026-02-01T00:00:00.000Z", NOW)).toBe("2026-02-01T00:00:00.000Z");
    expect(thrown(() => rules.paymentTime("2026-03-01T12:00:00.001Z", NOW)).fields).toMatchObject([{ path: "/paidAt", code: "in_future" }]);
    expect(thrown(() => rules.paymentTime("0026-02-01T00:00:00.000Z", NOW)).fields).toMatchObject([{ path: "/paidAt", code: "too_early" }]);
  });

  test.each(
    [
      ["pending", 40, 60],
      ["failed", 40, 60],
      ["paid", 40, 60],
      ["refunded", 0, 0],
      ["void", 0, 0],
    ] as const,
  )("B16: of 100 that is %s and credited by %i, %i more can be credited", (status, creditedTotal, left) => {
    const before = record({ status, total: 100, creditedTotal });
    expect(rules.creditLeft(before)).toBe(left);
    if (left > 0) expect(rules.credited(before, left)).toEqual({ ...before, creditedTotal: 100 });
    expect(thrown(() => rules.credited(before, left + 1))).toMatchObject({ code: "credit_exceeds_invoice", details: { remaining: left } });
  });
});

test.each(
  [
    ["invoice", "2026-12-31T23:59:59.999Z", 123, "invoice-2026", "INV-2026-000123"],
    ["invoice", "2027-01-01T00:00:00.000Z", 1, "invoice-2027", "INV-2027-000001"],
    ["credit-note", NOW, 999_999, "credit-note-2026", "CN-2026-999999"],
    ["credit-note", NOW, 1_000_000, "credit-note-2026", "CN-2026-1000000"],
  ] as const,
)("B14: the number of the %s issued at %s as number %i of its year", (series, now, n, name, number) => {
  expect([rules.counterName(series, now), rules.numberOf(series, now, n)]).toEqual([name, number]);
});
