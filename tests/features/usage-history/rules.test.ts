import { describe, expect, test } from "vitest";
import { billingGrid, bucketsOf, gridOf, periodsOf, type Span } from "../../../shared/features/usage-history/buckets.ts";
import { forecastOf } from "../../../shared/features/usage-history/forecast.ts";
import { dayWithoutHours, levelsOf, sumsOf } from "../../../shared/features/usage-history/series.ts";
import { isTimeZone, offsetMinutes, startOfDay } from "../../../shared/features/usage-history/zones.ts";

const at = (iso: string) => Date.parse(iso.length === 10 ? `${iso}T00:00:00.000Z` : iso);
const span = (from: string, to: string): Span => ({ start: at(from), end: at(to) });
const hoursOf = ({ start, end }: Span) => (end - start) / 3_600_000;

describe("time zones", () => {
  test("U18: are those of the IANA database, and no offsets", () => {
    expect(["UTC", "Europe/Madrid", "America/New_York", "Etc/GMT+3"].map(isTimeZone)).toEqual([true, true, true, true]);
    expect(["Mars/Olympus", "+02:00", "", "Europe/Madrid ", "a".repeat(65)].map(isTimeZone)).toEqual([false, false, false, false, false]);
  });

  test.each([
    ["Europe/Madrid", "2026-03-29", 23],
    ["Europe/Madrid", "2026-10-25", 25],
    ["Europe/Madrid", "2026-07-01", 24],
    ["America/New_York", "2026-03-08", 23],
    ["America/New_York", "2026-11-01", 25],
    // Clocks are set forward at midnight: the day begins at one o'clock.
    ["America/Santiago", "2026-09-06", 23],
    // Clocks are set back at midnight: the day before has the hour twice.
    ["America/Santiago", "2026-04-04", 25],
  ])("U18: in %s, %s has %d hours", (zone, day, hours) => {
    const [first, second] = bucketsOf({ start: startOfDay(zone, day), end: startOfDay(zone, day) + 1 }, gridOf("day", zone)) ?? [];
    expect([hoursOf(first as Span), second]).toEqual([hours, undefined]);
  });

  test("U18: a month begins at the midnight of its zone, across daylight saving time", () => {
    const months = bucketsOf(span("2026-03-15", "2026-04-15"), gridOf("month", "Europe/Madrid")) ?? [];
    expect(months.map(({ start }) => new Date(start).toISOString())).toEqual(["2026-02-28T23:00:00.000Z", "2026-03-31T22:00:00.000Z"]);
    expect(hoursOf(months[0] as Span)).toBe(31 * 24 - 1);
    expect(offsetMinutes("Asia/Kolkata", at("2026-03-01"))).toBe(330);
  });

  test("U18: the days of a year in any zone follow each other without a gap", () => {
    for (const zone of ["Europe/Madrid", "America/New_York", "America/Santiago", "Australia/Sydney", "Pacific/Auckland", "Africa/Cairo"]) {
      const days = bucketsOf(span("2026-01-02", "2026-12-30"), gridOf("day", zone)) ?? [];
      expect(days.every(({ end }, n) => n === days.length - 1 || end === days[n + 1]?.start), zone).toBe(true);
      expect(new Set(days.map(hoursOf)), zone).toEqual(new Set([23, 24, 25]));
    }
  });
});

describe("buckets", () => {
  test("U21: are whole, touch the span, and are at most 1,000", () => {
    expect(bucketsOf(span("2026-03-01T10:30:00.000Z", "2026-03-01T12:00:00.001Z"), gridOf("hour", "UTC"))).toHaveLength(3);
    expect(bucketsOf(span("2026-03-01", "2026-03-04"), gridOf("day", "UTC"))).toHaveLength(3);
    expect(bucketsOf(span("2000-01-01", "2002-09-27"), gridOf("day", "UTC"))).toHaveLength(1_000);
    expect(bucketsOf(span("2000-01-01", "2002-09-28"), gridOf("day", "UTC"))).toBeNull();
    expect(periodsOf([span("2025-12-31", "2026-01-01"), span("2026-01-01", "2026-02-01")])).toEqual(["2025-12", "2026-01"]);
  });

  test("U18: of billing periods begin on the anchor day, or on the last day of a shorter month", () => {
    const terms = { currentPeriodStart: "2026-03-31T09:15:00.000Z", anchorDay: 31, interval: "monthly", intervalCount: 1 } as const;
    const periods = bucketsOf(span("2026-01-31", "2026-05-01"), billingGrid(terms)) ?? [];
    expect(periods.map(({ start }) => new Date(start).toISOString().slice(0, 10)))
      .toEqual(["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]);
    const yearly = bucketsOf(span("2024-01-01", "2026-01-01"), billingGrid({ ...terms, interval: "yearly" })) ?? [];
    expect(yearly.map(({ start }) => new Date(start).toISOString().slice(0, 10))).toEqual(["2023-03-31", "2024-03-31", "2025-03-31"]);
    const weekly = bucketsOf(span("2026-03-30", "2026-04-08"), billingGrid({ ...terms, interval: "weekly", intervalCount: 2 })) ?? [];
    expect(weekly.map(({ start }) => new Date(start).toISOString().slice(0, 10))).toEqual(["2026-03-17", "2026-03-31"]);
  });
});

describe("series", () => {
  const days = bucketsOf(span("2026-02-27", "2026-03-04"), gridOf("day", "UTC")) ?? [];

  test("U21: of a counter are zero where nothing was counted, and add decimals exactly", () => {
    const months = [{ daily: { "2026-02-01": 9, "2026-02-28": 0.1 } }, { daily: { "2026-03-02": 5, "2026-03-03": -1 } }];
    expect(sumsOf(months, days, "day")).toEqual([0, 0.1, 0, 5, -1]);
    const months2 = [{ daily: { "2026-03-01": 0.1, "2026-03-02": 0.2 } }];
    expect(sumsOf(months2, bucketsOf(span("2026-03-01", "2026-03-31"), gridOf("month", "UTC")) ?? [], "day")).toEqual([0.3]);
  });

  test("U21: of a gauge carry the level", () => {
    const months = [{ daily: { "2026-02-10": 7 } }, { daily: { "2026-03-02": 5 } }];
    expect(levelsOf(months, days, 3)).toEqual([7, 7, 7, 5, 5]);
    expect(levelsOf([], days, 3)).toEqual([3, 3, 3, 3, 3]);
  });

  test("U18: of a zone's days take the hours of that day", () => {
    const zone = "America/New_York";
    const buckets = bucketsOf({ start: startOfDay(zone, "2026-03-08"), end: startOfDay(zone, "2026-03-09") + 1 }, gridOf("day", zone)) ??
      [];
    const hourly = { "2026-03-08T04": 1, "2026-03-08T05": 2, "2026-03-09T03": 4, "2026-03-09T04": 8 };
    expect(sumsOf([{ daily: {}, hourly }], buckets, "hour")).toEqual([6, 8]);
  });

  test("U21: know the days whose hours were not recorded", () => {
    const month = { daily: { "2026-03-01": 3, "2026-03-02": 5 }, hourly: { "2026-03-02T10": 4, "2026-03-02T11": 1 } };
    expect(dayWithoutHours([month], span("2026-03-01T23:00:00.000Z", "2026-03-03"))).toBe("2026-03-01");
    expect(dayWithoutHours([month], span("2026-03-02", "2026-03-03"))).toBeNull();
  });
});

describe("a forecast", () => {
  const now = at("2026-03-11");
  const record = (current: number, limit: number | null, daily: Record<string, number>, createdAt = "2025-01-01T00:00:00.000Z") => (
    { current, limit, daily, createdAt }
  );
  const each = (from: number, count: number, amount: number) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, n) => [new Date(at("2026-02-01") + (from + n) * 86_400_000).toISOString().slice(0, 10), amount]),
    );

  test.each([
    // 10 days of this month and 28 before today, all of 10 a day: 210 more in 21 days.
    ["of a steady counter", record(100, 300, each(28, 10, 10)), record(280, 300, each(0, 28, 10)), {
      projected: 310,
      projectedPercentage: 103,
      exhaustsAt: "2026-03-31T00:00:00.000Z",
    }],
    ["of a counter below its limit", record(100, 400, each(28, 10, 10)), record(280, 400, each(0, 28, 10)), {
      projected: 310,
      projectedPercentage: 78,
      exhaustsAt: null,
    }],
    // The month's days count twice: (200 + 200 + 180) / (10 + 28) a day.
    ["of a counter that grows", record(200, null, each(28, 10, 20)), record(280, null, each(0, 28, 10)), {
      projected: 520.526316,
      projectedPercentage: 0,
      exhaustsAt: null,
    }],
    ["of a counter of a new tenant", record(30, 60, { "2026-03-10": 30 }, "2026-03-10T12:00:00.000Z"), null, {
      basis: { method: "daily_average", days: 11, dailyRate: 5.454545 },
    }],
    ["of a counter that is exhausted", record(500, 300, {}), null, { exhaustsAt: "2026-03-11T00:00:00.000Z" }],
    ["of an unused counter", record(0, 10, {}), null, { projected: 0, projectedPercentage: 0, exhaustsAt: null }],
    ["of a counter with a limit of zero", record(0, 0, {}), null, { projectedPercentage: 100, exhaustsAt: "2026-03-11T00:00:00.000Z" }],
  ])("U25: %s", (_, current, previous, expected) => {
    expect(forecastOf("counter", current, previous, now)).toMatchObject(expected);
  });

  test("U25: of a gauge follows its trend, and a falling one never goes below zero", () => {
    const rising = Object.fromEntries(
      Array.from({ length: 28 }, (_, n) => [new Date(now - (28 - n) * 86_400_000).toISOString().slice(0, 10), 10 + 2 * n]),
    );
    const up = forecastOf("gauge", record(66, 100, rising), record(40, 100, {}), now);
    expect(up).toMatchObject({
      projected: 108,
      exhaustsAt: "2026-03-28T00:00:00.000Z",
      basis: { method: "linear_trend", days: 29, dailyRate: 2 },
    });
    const falling = Object.fromEntries(Object.entries(rising).map(([day, level]) => [day, 70 - level]));
    expect(forecastOf("gauge", record(4, 100, falling), record(40, 100, {}), now)).toMatchObject({ projected: 0, exhaustsAt: null });
    expect(forecastOf("gauge", record(5, null, {}), null, now)).toMatchObject({ projected: 5, projectedPercentage: 0, exhaustsAt: null });
  });
});
