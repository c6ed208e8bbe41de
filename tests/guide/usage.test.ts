import { afterAll, expect, test } from "vitest";
import { codeOf } from "../support/store.ts";
import { openTestContext, userOf } from "../support/test-context.ts";

const app = await openTestContext();
const {
  AlertService,
  ClosingService,
  MetricService,
  ReservationService,
  UsageEventService,
  UsageHistoryService,
  UsageService,
} = app;
afterAll(() => app.close());

test("H29: usage is recorded, incremented and consumed up to its limit", async () => {
  const { id: tenantId } = await app.tenant({ plan: "Basic" });
  await UsageService.record(tenantId, "rooms", 48, 60);
  await UsageService.increment(tenantId, "bookings", 5, 1_000);
  const rooms = await UsageService.get(tenantId, "rooms");
  const bookings = await UsageService.consume(tenantId, "bookings", 10);
  const fits = await UsageService.check(tenantId, "rooms", 20);
  const isFull = await UsageService.isOverLimit(tenantId, "rooms");
  const all = await UsageService.getAll(tenantId, "2026-03");
  const percent = await UsageService.refreshPercent(tenantId);
  expect(rooms).toMatchObject({ current: 48, limit: 60, percentage: 80 });
  expect(bookings).toMatchObject({ allowed: true, current: 15, limit: 1_000, remaining: 985 });
  expect([fits.allowed, isFull, percent]).toEqual([false, false, 80]);
  expect(all.find(({ metric }) => metric === "rooms")).toMatchObject({ current: 48 });
});

test("H29: usage at its limit raises an alert, which is resolved when it falls", async () => {
  const { id: tenantId } = await app.tenant({ plan: "Basic" });
  await UsageService.record(tenantId, "rooms", 60, 60);
  const alerts = await AlertService.list(tenantId, { triggered: [true] });
  expect(alerts.data.map(({ threshold }) => threshold).sort()).toEqual([100, 80]);
  const alert = await AlertService.get(tenantId, alerts.data[0]?.id ?? "");
  const resolved = await AlertService.resolve(tenantId, alert?.id ?? "");
  expect(resolved).toMatchObject({ triggered: false, resolvedAt: app.clock.iso() });
});

test("H29: a reservation holds an amount until it is committed or released", async () => {
  const { id: tenantId } = await app.tenant({ plan: "Basic" });
  const held = await ReservationService.reserve(tenantId, "rooms", 10, 600);
  const committed = await ReservationService.commit(tenantId, "rooms", held.id, 8);
  const other = await ReservationService.reserve(tenantId, "rooms", 5);
  const released = await ReservationService.release(tenantId, "rooms", other.id);
  const found = await ReservationService.get(tenantId, held.id);
  const list = await ReservationService.list(tenantId, { status: ["released"] });
  expect([committed?.status, found?.status, released?.status]).toEqual(["committed", "committed", "released"]);
  expect(list.data.map(({ id }) => id)).toEqual([other.id]);
  expect(await UsageService.get(tenantId, "rooms")).toMatchObject({ current: 8 });
});

test("H29: usage events count once, and can be corrected", async () => {
  const { id: tenantId } = await app.tenant();
  const sent = await UsageEventService.track(tenantId, { meter_id: "bookings", event_value: 3, event_id: "booking-1" });
  const again = await UsageEventService.track(tenantId, { meter_id: "bookings", event_value: 3, event_id: "booking-1" });
  expect([sent.status, again.status]).toEqual(["accepted", "duplicate"]);
  const events = await UsageEventService.list(tenantId);
  const id = events.data[0]?.id ?? "";
  await UsageEventService.correct(tenantId, id, { amount: 2, reason: "One booking was a test." });
  const corrected = await UsageEventService.get(tenantId, id);
  await UsageEventService.void(tenantId, id, { reason: "The whole group was a test." });
  const groups = await UsageEventService.groups(tenantId, "api_calls", "endpoint");
  expect(corrected).toMatchObject({ status: "corrected", amount: 3, counted: { "2026-03": 2 } });
  expect(groups).toMatchObject({ metric: "api_calls" });
  expect(await UsageService.get(tenantId, "bookings")).toMatchObject({ current: 0 });
  const results = await UsageEventService.ingest({ single: false, items: [] });
  expect(results).toEqual([]);
});

test("H29: the history of usage is zero-filled, and a forecast tells when the limit is reached", async () => {
  const { id: tenantId } = await app.tenant();
  await UsageService.increment(tenantId, "bookings", 30, 1_000);
  const history = await UsageHistoryService.history(tenantId, "bookings", { from: "2026-02-28", to: "2026-03-01", bucket: "day" });
  const months = await UsageHistoryService.months(tenantId, { from: "2026-01", to: "2026-03" });
  const forecast = await UsageHistoryService.forecast(tenantId, "bookings");
  expect(history?.data.map(({ amount }) => amount)).toEqual([0, 30]);
  expect(months?.find(({ metric }) => metric === "bookings")?.months.map(({ amount }) => amount)).toEqual([0, 0, 30]);
  expect(forecast).toMatchObject({ current: 30 });
});

test("H29: a platform adds metrics of its own", async () => {
  const metric = await MetricService.create({
    id: "check_ins",
    name: "Check-ins",
    unit: "check-in",
    kind: "counter",
    description: "Guests who arrived.",
  });
  await MetricService.update("check_ins", { description: "Guests who arrived, without day use." });
  const missing = await MetricService.seedDefaults();
  const deleted = await MetricService.delete(metric.id);
  await ClosingService.close("2026-01", ["bookings"]);
  expect([missing, deleted]).toEqual([[], true]);
});

test("H29: a tenant reads its usage and cannot move it", async () => {
  const { id: tenantId } = await app.tenant();
  const own = app.as(userOf(tenantId));
  expect(await own.UsageService.get(tenantId, "rooms")).toMatchObject({ current: 0 });
  const writes = [
    own.UsageService.record(tenantId, "rooms", 1),
    own.UsageService.increment(tenantId, "rooms", 1),
    own.UsageService.consume(tenantId, "rooms", 1),
    own.ReservationService.reserve(tenantId, "rooms", 1),
    own.UsageEventService.track(tenantId, { meter_id: "bookings", event_value: 1 }),
  ];
  expect(await Promise.all(writes.map(codeOf))).toEqual(writes.map(() => "forbidden"));
  expect(await UsageService.get(tenantId, "rooms")).toMatchObject({ current: 0 });
});
