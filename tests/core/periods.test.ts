import { describe, expect, test } from "vitest";
import { instant } from "../../shared/core/values.ts";
import { isTimestamp } from "../../shared/kv/key.ts";
import {
  addDays,
  addInterval,
  assertPeriod,
  closesAt,
  dayOf,
  isClosed,
  periodEnd,
  periodFault,
  periodOf,
  periodStart,
  type Recurrence,
} from "../../shared/core/periods.ts";
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
      ["2000-01-31T00:00:00.000Z", "monthly", "2000-02-29T00:00:00.000Z"],
      ["2100-01-31T00:00:00.000Z", "monthly", "2100-02-28T00:00:00.000Z"],
    ] as const,
  )("B06: %s and one %s interval is %s", (from, interval, to) => {
    expect(addInterval(from, { interval })).toBe(to);
  });

  test("B06: with its anchor day, billing that began on 31 January returns to the 31st", () => {
    const february = addInterval("2026-01-31T00:00:00.000Z", { interval: "monthly" }, 31);
    expect(february).toBe("2026-02-28T00:00:00.000Z");
    expect(addInterval(february, { interval: "monthly" }, 31)).toBe("2026-03-31T00:00:00.000Z");
    expect(addInterval(february, { interval: "monthly" })).toBe("2026-03-28T00:00:00.000Z");
  });

  test("B06: every unit and count keeps its anchor for 400 days", () => {
    const ends = (recurrence: Recurrence, from: string) => {
      const anchor = Number(from.slice(8, 10));
      const found: string[] = [];
      for (let at = from; at < addDays(from, 400);) found.push((at = addInterval(at, recurrence, anchor)).slice(0, 10));
      return found;
    };
    const day = "2027-12-31T10:00:00.000Z";
    expect(ends({ interval: "daily", intervalCount: 90 }, day)).toEqual([
      "2028-03-30",
      "2028-06-28",
      "2028-09-26",
      "2028-12-25",
      "2029-03-25",
    ]);
    expect(ends({ interval: "weekly", intervalCount: 26 }, day)).toEqual(["2028-06-30", "2028-12-29", "2029-06-29"]);
    expect(ends({ interval: "monthly", intervalCount: 2 }, day).slice(0, 3)).toEqual(["2028-02-29", "2028-04-30", "2028-06-30"]);
    expect(ends({ interval: "yearly", intervalCount: 2 }, "2028-02-29T10:00:00.000Z")).toEqual(["2030-02-28"]);
    expect(addInterval("2030-02-28T10:00:00.000Z", { interval: "yearly", intervalCount: 2 }, 29)).toBe("2032-02-29T10:00:00.000Z");
  });

  test("B06: an interval always ends later, on an existing instant of the following month or year", () => {
    const random = seededRandom("billing intervals");
    for (let i = 0; i < 2_000; i++) {
      const from = addDays("1970-01-01T12:00:00.000Z", random.below(60_000));
      for (const interval of ["monthly", "yearly"] as const) {
        const to = addInterval(from, { interval });
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

describe("the end of the calendar", () => {
  const LAST = "9999-12-31T23:59:59.999Z";

  test("the last instant of 9999 is a valid instant, and the year 10000 has none", () => {
    for (const fine of [LAST, "9999-01-01T00:00:00.000Z"]) expect(instant.safeParse(fine).success, fine).toBe(true);
    for (const none of ["10000-01-01T00:00:00.000Z", "+010000-01-01T00:00:00.000Z"]) {
      expect(instant.safeParse(none).success, none).toBe(false);
    }
  });

  test("a result after 9999 is its last instant", () => {
    expect(periodEnd("9999-12")).toBe(LAST);
    expect(periodEnd("9999-11")).toBe("9999-12-01T00:00:00.000Z");
    expect(addInterval("9998-12-31T23:59:59.999Z", { interval: "yearly" })).toBe(LAST);
    expect(addInterval("9999-01-01T00:00:00.000Z", { interval: "yearly" })).toBe(LAST);
    expect(addInterval("9999-12-01T00:00:00.000Z", { interval: "monthly" })).toBe(LAST);
    expect(addDays("9999-12-31T00:00:00.000Z", 1)).toBe(LAST);
    expect(addDays("9999-12-30T23:59:59.999Z", 1)).toBe(LAST);
    expect(addDays("2026-01-01T00:00:00.000Z", 1e12)).toBe(LAST);
  });

  test("a result before the year 0 is its first instant", () => {
    expect(addDays("0000-01-01T12:00:00.000Z", -1)).toBe("0000-01-01T00:00:00.000Z");
    expect(addDays("0000-01-02T12:00:00.000Z", -1)).toBe("0000-01-01T12:00:00.000Z");
  });
});

describe("the close of a month", () => {
  test.each([
    ["2026-01", "2026-02-04T00:00:00.000Z"],
    ["2026-02", "2026-03-04T00:00:00.000Z"],
    ["2026-12", "2027-01-04T00:00:00.000Z"],
  ])("U11: %s is open until %s and closed from then on", (period, instant) => {
    expect(closesAt(period)).toBe(instant);
    expect(isClosed(period, Date.parse(instant) - 1)).toBe(false);
    expect(isClosed(period, Date.parse(instant))).toBe(true);
  });

  test("U11: a later month is open", () => {
    expect(isClosed("2027-03", Date.parse("2026-11-01T00:00:00.000Z"))).toBe(false);
  });
});

describe("periods of usage", () => {
  const now = Date.parse("2026-11-21T10:00:00.000Z");
  const MESSAGE = "must be a month from 2000-01 to 2027-11, such as 2026-11";

  test.each(["2000-01", "2000-02", "2026-11", "2027-01", "2027-11"])("U18: usage can be recorded for %s", (period) => {
    expect(periodFault(period, now)).toBeNull();
    expect(() => assertPeriod(period, now)).not.toThrow();
  });

  test.each([
    "1999-12",
    "0000-01",
    "2027-12",
    "2028-01",
    "9999-12",
    "2026-13",
    "2026-00",
    "2026-1",
    "12026-11",
    "2026-11-01",
    "2026-2026-11",
    "2026",
    "",
  ])(
    "U18: %j is not a period of usage in November 2026",
    (period) => {
      expect(periodFault(period, now)).toBe(MESSAGE);
      expect(() => assertPeriod(period, now)).toThrowError(expect.objectContaining({
        code: "validation_failed",
        fields: [{ path: "/period", message: MESSAGE, code: "invalid_period" }],
      }));
    },
  );

  test("U18: in December and January the last period is twelve months ahead as well", () => {
    expect(periodFault("2027-12", Date.parse("2026-12-31T23:59:59.999Z"))).toBeNull();
    expect(periodFault("2028-01", Date.parse("2026-12-31T23:59:59.999Z"))).toMatch(/to 2027-12,/);
    expect(periodFault("2028-01", Date.parse("2027-01-01T00:00:00.000Z"))).toBeNull();
  });

  test("U18: in 9999, whose last twelve months would be in the year 10000, the last period is its December", () => {
    for (const month of ["9998-12", "9999-01", "9999-12"]) {
      const at = Date.parse(`${month}-15T00:00:00.000Z`);
      for (const period of [month, "9999-12"]) expect(periodFault(period, at), `${period} in ${month}`).toBeNull();
      expect(periodFault("10000-01", at), month).toMatch(/to 9999-12,/);
    }
  });
});
