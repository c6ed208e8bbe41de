import { describe, expect, test } from "vitest";
import { isTimestamp } from "../../shared/kv/key.ts";
import { addDays, addInterval, dayOf, periodEnd, periodOf, periodStart } from "../../shared/core/periods.ts";
import { seededRandom } from "../support/random.ts";

describe("months and days", () => {
  test.each([
    ["2026-01-31T23:59:59.999Z", "2026-01", "2026-01-31"],
    ["2026-02-01T00:00:00.000Z", "2026-02", "2026-02-01"],
    ["1999-12-31T23:59:59.999Z", "1999-12", "1999-12-31"],
  ])("%s lies in the UTC month %s and day %s", (instant, period, day) => {
    expect(periodOf(Date.parse(instant))).toBe(period);
    expect(dayOf(Date.parse(instant))).toBe(day);
  });

  test.each([["2026-01", "2026-02"], ["2026-12", "2027-01"], ["2024-02", "2024-03"]])(
    "the month %s ends where %s begins",
    (period, next) => {
      expect(periodEnd(period)).toBe(periodStart(next));
      expect(periodOf(Date.parse(periodEnd(period)) - 1)).toBe(period);
    },
  );
});

describe("billing intervals", () => {
  test.each(
    [
      ["2026-01-15T10:20:30.400Z", "monthly", "2026-02-15T10:20:30.400Z"],
      ["2026-01-31T00:00:00.000Z", "monthly", "2026-02-28T00:00:00.000Z"],
      ["2024-01-31T00:00:00.000Z", "monthly", "2024-02-29T00:00:00.000Z"],
      ["2026-05-31T00:00:00.000Z", "monthly", "2026-06-30T00:00:00.000Z"],
      ["2026-12-31T23:59:59.999Z", "monthly", "2027-01-31T23:59:59.999Z"],
      ["2024-02-29T00:00:00.000Z", "yearly", "2025-02-28T00:00:00.000Z"],
      ["2026-07-01T00:00:00.000Z", "yearly", "2027-07-01T00:00:00.000Z"],
      ["1999-02-28T00:00:00.000Z", "yearly", "2000-02-28T00:00:00.000Z"],
    ] as const,
  )("%s and one %s interval is %s", (from, interval, to) => {
    expect(addInterval(from, interval)).toBe(to);
  });

  test("with its anchor day, billing begun on 31 January comes back to the 31st", () => {
    const february = addInterval("2026-01-31T00:00:00.000Z", "monthly", 31);
    expect(february).toBe("2026-02-28T00:00:00.000Z");
    expect(addInterval(february, "monthly", 31)).toBe("2026-03-31T00:00:00.000Z");
    expect(addInterval(february, "monthly")).toBe("2026-03-28T00:00:00.000Z");
  });

  test("an interval always ends later, on an existing instant of the month or year that follows", () => {
    const random = seededRandom("billing intervals");
    for (let i = 0; i < 2_000; i++) {
      const from = addDays("1970-01-01T12:00:00.000Z", random.below(60_000));
      for (const interval of ["monthly", "yearly"] as const) {
        const to = addInterval(from, interval);
        const days = (Date.parse(to) - Date.parse(from)) / 86_400_000;
        expect(isTimestamp(to), to).toBe(true);
        expect([28, 29, 30, 31, 365, 366], `${from} ${interval}`).toContain(days);
      }
    }
  });

  test.each([
    ["2026-02-27T08:00:00.000Z", 14, "2026-03-13T08:00:00.000Z"],
    ["2024-03-01T00:00:00.000Z", -1, "2024-02-29T00:00:00.000Z"],
    ["2026-01-01T00:00:00.000Z", 0, "2026-01-01T00:00:00.000Z"],
  ])("%s and %i days is %s", (from, days, to) => {
    expect(addDays(from, days)).toBe(to);
  });
});
