import { describe, expect, test } from "vitest";
import {
  isBillable,
  newestClosed,
  nextToClose,
  overageLines,
  paidSince,
  SETTLED_AFTER_MS,
  usedSince,
  withOverage,
} from "../../../shared/features/closings/rules.ts";
import { MAX_OVERAGE_MONTHS, MAX_PENDING_ITEMS, subscription } from "../../../shared/features/subscriptions/entity.ts";
import { usageRecord } from "../../../shared/features/usage/entity.ts";

const sold = subscription.schema.parse(subscription.example);
const usageOf = (current: number, limit: number | null, reserved = 0) =>
  usageRecord.schema.parse({ ...usageRecord.example, metric: "bookings", current, limit, reserved });

describe("the months to close", () => {
  test.each([
    ["2026-03-03T23:59:59.999Z", "2026-01"],
    ["2026-03-04T00:00:00.000Z", "2026-02"],
    ["2026-01-04T00:00:00.000Z", "2025-12"],
    ["2026-01-03T00:00:00.000Z", "2025-11"],
  ])("U14: at %s the newest closed month is %s", (now, period) => {
    expect(newestClosed(Date.parse(now))).toBe(period);
  });

  test.each([
    [null, "2026-02"],
    ["2025-11", "2025-12"],
    ["2026-01", "2026-02"],
    ["2026-02", null],
    ["2026-05", null],
  ])("U14: on 4 March, after %s the next one is %s, once all that was counted before the close is committed", (last, next) => {
    const at = Date.parse("2026-03-04T00:00:00.000Z") + SETTLED_AFTER_MS;
    expect(nextToClose(last, at)).toBe(next);
    if (next === "2026-02") expect(nextToClose("2026-01", at - 1)).toBeNull();
  });
});

describe("usage that is paid for", () => {
  const tenant = { status: "active" } as const;
  test.each(
    [
      ["of a month with a paid subscription", {}, {}, "2026-01-01T00:00:00.000Z"],
      ["from the end of a trial on", {}, { trialEndsAt: "2026-01-20T15:00:00.000Z" }, "2026-01-20T15:00:00.000Z"],
      ["not of a month of trial", {}, { trialEndsAt: "2026-02-01T00:00:00.000Z" }, null],
      ["of the month of a cancellation", { status: "cancelled", cancelledAt: "2026-01-02T00:00:00.000Z" }, {}, "2026-01-01T00:00:00.000Z"],
      ["not of a month after it", { status: "cancelled", cancelledAt: "2025-12-31T00:00:00.000Z" }, {}, null],
      ["of the month of a suspension", {}, { status: "suspended", suspendedAt: "2026-01-02T00:00:00.000Z" }, "2026-01-01T00:00:00.000Z"],
      ["not of a month within it", {}, { status: "suspended", suspendedAt: "2025-12-31T00:00:00.000Z" }, null],
    ] as const,
  )("U14: is that %s", (_, changes, by, since) => {
    expect(paidSince({ ...sold, ...changes }, { ...tenant, ...by }, "2026-01")).toBe(since);
  });

  test.each([
    // current, daily amounts, what is billed of it
    [1_600, { "2026-01-10": 1_500, "2026-01-21": 100 }, 100],
    [1_100, { "2026-01-10": 900, "2026-01-21": 200 }, 100],
    [1_600, { "2026-01-10": 1_500, "2026-01-20": 100 }, 0],
    [1_600, { "2026-01-10": 1_700, "2026-01-21": -100 }, 0],
  ])("U14: after a trial until the 20th is, of %d with the days %j, %d above a limit of 1,000", (current, daily, billed) => {
    const record = usedSince({ ...usageOf(current + 5, 1_000, 5), daily }, "2026-01-20T15:00:00.000Z");
    const lines = overageLines({ bookings: { unitAmount: 1, per: 1 } }, [record]);
    expect(lines.map(({ quantity }) => quantity)).toEqual(billed === 0 ? [] : [billed]);
  });
});

describe("usage above the limit", () => {
  test.each([
    // current, limit, reserved, per, unit amount, quantity
    [130, 100, 0, 1, 25, 30],
    [130, 100, 0, 20, 25, 2],
    [100.000001, 100, 0, 1, 25, 1],
    [1e9 + 0.5, 1e9, 0, 1, 25, 1],
    [130, 100, 30, 1, 25, null],
    [130, 100, 10, 10, 25, 2],
    [100, 100, 0, 1, 25, null],
    [500, null, 0, 1, 25, null],
    [500, 100, 0, 1, 0, null],
    [7, 0, 0, 1, 1, 7],
  ])("U14: %d of %s with %d reserved, per %d at %d, is billed as %s packages", (current, limit, reserved, per, unitAmount, quantity) => {
    const lines = overageLines({ bookings: { unitAmount, per } }, [usageOf(current, limit, reserved)]);
    expect(lines).toEqual(
      quantity === null ? [] : [{
        description: "Overage bookings 2026-01",
        quantity,
        unitAmount,
        amount: quantity * unitAmount,
        kind: "usage",
        periodStart: "2026-01-01T00:00:00.000Z",
        periodEnd: "2026-02-01T00:00:00.000Z",
      }],
    );
  });

  test("U14: a metric without a price is not billed", () => {
    expect(overageLines({ rooms: { unitAmount: 1, per: 1 } }, [usageOf(500, 1)])).toEqual([]);
    expect(overageLines({}, [{ ...usageOf(500, 1), metric: "constructor" }])).toEqual([]);
  });

  test("U14: a trial, a subscription that was never paid, and a month that is billed are not billable", () => {
    expect(isBillable(sold, "2026-01")).toBe(true);
    expect(isBillable({ ...sold, status: "trialing" }, "2026-01")).toBe(false);
    expect(isBillable({ ...sold, anchorDay: undefined }, "2026-01")).toBe(false);
    expect(isBillable({ ...sold, status: "cancelled" }, "2026-01")).toBe(true);
    expect(isBillable(withOverage(sold, "2026-01", []), "2026-01")).toBe(false);
    expect(isBillable(withOverage(sold, "2026-02", []), "2026-01")).toBe(true);
  });

  test("U14: the subscription keeps its newest months and as many items as it can hold, with the same sum", () => {
    const line = overageLines({ bookings: { unitAmount: 1, per: 1 } }, [usageOf(3, 1)]);
    let after = sold;
    for (let n = 0; n < MAX_PENDING_ITEMS + 5; n++) {
      after = withOverage(after, `${2030 + Math.floor(n / 12)}-${String(n % 12 + 1).padStart(2, "0")}`, line);
    }
    expect(after.overageMonths).toHaveLength(MAX_OVERAGE_MONTHS);
    expect(after.pendingItems).toHaveLength(MAX_PENDING_ITEMS);
    expect(after.pendingItems[0]).toMatchObject({ description: "Earlier charges and credits", amount: 12, kind: "other" });
    expect(subscription.schema.safeParse(after).success).toBe(true);
  });
});
