import { describe, expect, test } from "vitest";
import { cloudEvent, eventsBody, readItem, rfc3339Ms } from "../../../shared/features/usage-events/cloud-event.ts";
import { bookingOf, corrected, dataFault, fullDimension, MAX_GROUPS } from "../../../shared/features/usage-events/rules.ts";
import { usageEvent } from "../../../shared/features/usage-events/entity.ts";
import { fieldErrors } from "../../../shared/kernel/field-errors.ts";
import { eventOf } from "./support.ts";

const EVENT = eventOf("tn_1", "e1", { amount: 2 }, { time: "2026-03-01T10:00:00Z" });

describe("a CloudEvent", () => {
  test.each([
    ["its required attributes alone", { time: undefined, data: undefined }],
    ["a time with an offset and nanoseconds", { time: "2026-03-01t12:00:00.123456789+02:00" }],
    ["a JSON media type", { datacontenttype: "application/vnd.meter+json; charset=utf-8" }],
    ["extension attributes of text, a number and a boolean", { traceparent: "00-ab", sequence: 7, sampled: true }],
    ["null for an attribute that is not set", { time: null, dataschema: null, myextension: null }],
    ["a relative source", { source: "../meter?x=1#y" }],
    ["a tenant by its full key", { subject: "tenant:tn_1" }],
  ])("U10: is accepted with %s", (_, more) => {
    expect(readItem({ ...EVENT, ...more })).toMatchObject({ event: { id: "e1", subject: "tn_1", type: "api_calls" } });
  });

  test.each([
    ["no id", { id: undefined }, "/id"],
    ["an empty id", { id: "" }, "/id"],
    ["an id with a line break", { id: "a\nb" }, "/id"],
    ["no source", { source: undefined }, "/source"],
    ["a source with a space", { source: "my gateway" }, "/source"],
    ["a source with a broken percent-encoding", { source: "/a%2" }, "/source"],
    ["another version", { specversion: "0.3" }, "/specversion"],
    ["no type", { type: undefined }, "/type"],
    ["no subject", { subject: undefined }, "/subject"],
    ["a day as time", { time: "2026-03-01" }, "/time"],
    ["30 February", { time: "2026-02-30T10:00:00Z" }, "/time"],
    ["a time without a zone", { time: "2026-03-01T10:00:00" }, "/time"],
    ["XML data", { datacontenttype: "application/xml" }, "/datacontenttype"],
    ["binary data", { data_base64: "AAAA" }, "/data_base64"],
    ["data that is no object", { data: [1] }, "/data"],
    ["an unknown member of data", { data: { amuont: 1 } }, "/data/amuont"],
    ["a negative amount", { data: { amount: -1 } }, "/data/amount"],
    ["seven decimals", { data: { amount: 0.1234567 } }, "/data/amount"],
    ["a dimension's value of 129 bytes", { data: { dimensions: { endpoint: `${"é".repeat(64)}x` } } }, "/data/dimensions/endpoint"],
    ["an object as extension", { extension: {} }, "/extension"],
    ["an attribute name in upper case", { userId: "u" }, "/userId"],
    ["U+0000", { data: { properties: { a: "\u0000" } } }, "/data/properties/a"],
    ["a lone surrogate", { data: { userId: "\ud800" } }, "/data/userId"],
    ["a number that is not finite", { data: { amount: Infinity } }, "/data/amount"],
    ["a member __proto__", { data: JSON.parse('{"properties":{"__proto__":1}}') }, "/data/properties/__proto__"],
  ])("U10: is rejected with %s, at its place", (_, more, path) => {
    const sent = { ...EVENT, ...more };
    const item = readItem(sent);
    expect(item).toMatchObject({ id: typeof sent.id === "string" ? sent.id : null, error: { path } });
  });

  test.each([null, 5, "text", true, [], [EVENT]])("U10: is rejected as %j in a batch, without id or source", (item) => {
    expect(readItem(item)).toMatchObject({ id: null, source: null, error: { message: "must be an object" } });
  });

  test("U10: alone is an error of the request, and a batch has 1 to 1,000 events", () => {
    expect(eventsBody.parse(EVENT)).toMatchObject({ single: true, items: [{ event: { id: "e1" } }] });
    const pathsOf = (body: unknown) => fieldErrors(eventsBody.safeParse(body).error?.issues ?? []).map(({ path }) => path);
    expect([pathsOf({ ...EVENT, id: "" }), pathsOf([]), pathsOf(Array(1_001).fill(EVENT)), pathsOf("x")]).toEqual([["/id"], [""], [""], [
      "",
    ]]);
    expect(eventsBody.parse([EVENT, 5, ...Array(998).fill(EVENT)]).items).toHaveLength(1_000);
    expect(cloudEvent.safeParse({ ...EVENT, "no/such": 1 }).success).toBe(false);
  });

  test.each([
    ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00.000Z"],
    ["2026-03-01T10:00:00.9999+05:30", "2026-03-01T04:30:00.999Z"],
    ["2026-03-01T00:30:00-01:00", "2026-03-01T01:30:00.000Z"],
    ["2024-02-29T23:59:59z", "2024-02-29T23:59:59.000Z"],
  ])("U10: the time %s is %s", (given, instant) => {
    expect(new Date(rfc3339Ms(given)).toISOString()).toBe(instant);
  });

  test.each([
    "2026-03-01T24:00:00Z",
    "2026-03-01T10:00:60Z",
    "2026-13-01T10:00:00Z",
    "2026-03-01T10:00:00+24:00",
    "0000-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
    "2026-03-01 10:00:00Z",
    "",
  ])("U10: %j is no time", (given) => {
    expect(rfc3339Ms(given)).toBeNaN();
  });
});

describe("the month of an event", () => {
  const now = "2026-04-03T23:59:59.999Z";
  const closed = "2026-04-04T00:00:00.000Z";
  const on = (day: string) => ({ time: `${day}T10:20:30.000Z` });

  test.each([
    ["now, without a time", {}, now, { period: "2026-04", day: "2026-04-03", hour: "2026-04-03T23" }],
    ["of its time", on("2026-04-02"), now, { period: "2026-04", day: "2026-04-02", hour: "2026-04-02T10" }],
    ["before, while that is open", on("2026-03-31"), now, { period: "2026-03", day: "2026-03-31", hour: "2026-03-31T10" }],
    ["now, once its own is closed", on("2026-03-31"), closed, {
      period: "2026-04",
      day: "2026-04-04",
      hour: "2026-04-04T00",
      adjusts: "2026-03",
    }],
    ["now, for the last year's", on("2025-04-10"), closed, {
      period: "2026-04",
      day: "2026-04-04",
      hour: "2026-04-04T00",
      adjusts: "2025-04",
    }],
  ])("U11: is that %s", (_, event, at, booking) => {
    const { time: __, ...found } = bookingOf(event, "counter", Date.parse(at)) as { time: string };
    expect(found).toEqual(booking);
  });

  test("U11: of a gauge is its own, also when that is closed", () => {
    expect(bookingOf(on("2026-03-31"), "gauge", Date.parse(closed))).toMatchObject({ period: "2026-03", day: "2026-03-31" });
  });

  test.each([
    ["2026-04-04T00:04:59.999Z", null],
    ["2026-04-04T00:05:00.000Z", "in_future"],
    ["2025-04-02T23:59:59.999Z", null],
    ["2025-04-02T23:59:59.998Z", "too_old"],
  ])("U11: an event of %s is refused with %s", (time, code) => {
    expect(bookingOf({ time }, "counter", Date.parse(now))).toMatchObject(code === null ? { time } : { path: "/time", code });
  });
});

describe("the data of an event", () => {
  test("U20: names only dimensions of its metric, and a gauge needs an amount", () => {
    const metric = { kind: "counter", dimensions: ["endpoint"] } as const;
    expect(dataFault({ dimensions: { endpoint: "/" } }, { ...metric, dimensions: ["endpoint"] })).toBeNull();
    expect(dataFault({ dimensions: { region: "eu" } }, { ...metric, dimensions: ["endpoint"] }))
      .toMatchObject({ path: "/data/dimensions", code: "unknown_dimension", message: expect.stringContaining("endpoint") });
    expect(dataFault({ dimensions: { region: "eu" } }, { kind: "counter" })).toMatchObject({ code: "unknown_dimension" });
    expect(dataFault({}, { kind: "gauge" })).toMatchObject({ path: "/data/amount" });
    expect(dataFault({ amount: 0 }, { kind: "gauge" })).toBeNull();
  });

  test("U20: has room for 200 values of a dimension, and for each of them again", () => {
    const full = { endpoint: Object.fromEntries(Array.from({ length: MAX_GROUPS }, (_, n) => [`/${n}`, 1])) };
    expect([fullDimension(full, { endpoint: "/199" }), fullDimension(full, { endpoint: "/200" })]).toEqual([null, "endpoint"]);
    expect(fullDimension(full, { method: "GET" })).toBeNull();
    expect(fullDimension({ endpoint: {} }, { endpoint: "constructor" })).toBeNull();
  });
});

describe("a correction", () => {
  const march = {
    ...usageEvent.schema.parse(usageEvent.example),
    time: "2026-03-10T10:00:00.000Z",
    period: "2026-03",
    amount: 5,
    counted: { "2026-03": 5 },
  };
  const open = Date.parse("2026-04-03T12:00:00.000Z");
  const closed = Date.parse("2026-04-20T12:00:00.000Z");

  test("U19: counts the difference in the event's month and day while that is open", () => {
    expect(corrected(march, 2, open)).toMatchObject({
      by: -3,
      counted: { "2026-03": 2 },
      booking: { day: "2026-03-10", hour: "2026-03-10T10" },
    });
    expect(corrected(march, 5, open)).toBeNull();
  });

  test("U19: counts it in the current month as an adjustment once the month is closed, also the second time", () => {
    const first = corrected(march, 2, closed);
    expect(first).toMatchObject({ by: -3, counted: { "2026-03": 5, "2026-04": -3 }, booking: { day: "2026-04-20", adjusts: "2026-03" } });
    const again = corrected({ ...march, counted: first?.counted ?? {} }, 0, Date.parse("2026-05-20T12:00:00.000Z"));
    expect(again).toMatchObject({ by: -2, counted: { "2026-03": 5, "2026-04": -3, "2026-05": -2 } });
  });

  test("U19: of an adjustment goes to the day on which that was counted", () => {
    const late = { ...march, period: "2026-04", adjusts: "2026-03", counted: { "2026-04": 5 }, receivedAt: "2026-04-20T12:00:00.000Z" };
    expect(corrected(late, 1, closed)).toMatchObject({ by: -4, booking: { period: "2026-04", day: "2026-04-20", adjusts: "2026-03" } });
  });
});
