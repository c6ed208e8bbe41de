import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type UsageEvent, usageEvent } from "../../../shared/features/usage-events/entity.ts";
import { plus } from "../../../shared/features/usage/rules.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { seededRandom } from "../../support/random.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";
import { batchOf, DIED, dyingAfter, eventOf, type SentEvent } from "./support.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());
beforeEach(() => context.clock.set("2026-03-10T12:00:00.000Z"));

const ingest = (...events: readonly unknown[]) => context.UsageEventService.ingest(batchOf(...events));
const usage = async (id: string, period = "2026-03", metric = "api_calls") =>
  (await context.UsageService.get(id, metric, period)) ?? undefined;

/** What the stored events of a tenant say about each of its months. */
async function replay(tenantId: string): Promise<Record<string, number>> {
  const months: Record<string, number> = {};
  for (const { value } of await context.dump("usageevent")) {
    const event = value as unknown as UsageEvent;
    if (event.tenantId !== tenantId) continue;
    for (const [period, amount] of Object.entries(event.counted)) months[period] = plus(months[period] ?? 0, amount);
  }
  return months;
}

describe("a batch of usage events", () => {
  it("U10: of 1,000 with 500 bad ones counts the others, and has a result for each in order", async () => {
    const { id } = await context.tenant();
    const bad = [
      null,
      { ...eventOf(id, "b1"), source: "a b" },
      eventOf("tn_none", "b2"),
      eventOf("a:b", "b3"),
      eventOf(id, "b4", {}, { type: "no_such" }),
      eventOf(id, "b5", { dimensions: { region: "eu" } }),
      eventOf(id, "b6", {}, { time: "2026-03-10T12:05:00.001Z" }),
      eventOf(id, "b7", {}, { type: "rooms" }),
    ];
    const codes = [
      "invalid_type",
      "invalid_format",
      "not_found",
      "not_found",
      "not_found",
      "unknown_dimension",
      "in_future",
      "invalid_type",
    ];
    const sent = Array.from({ length: 1_000 }, (_, n) => {
      const one = bad[(n >> 1) % bad.length];
      return n % 2 === 0 ? eventOf(id, `good-${n}`, { amount: 2 }) : one && { ...one, id: `${one.id}-${n}` };
    });
    const results = await ingest(...sent);
    expect(results.map((result) => result.id)).toEqual(sent.map((event) => event?.id ?? null));
    expect(results.filter((_, n) => n % 2 === 0).every(({ status }) => status === "accepted")).toBe(true);
    const rejected = results.filter((_, n) => n % 2 === 1).map((result) =>
      result.status === "rejected" ? result.error.code : result.status
    );
    expect(rejected).toEqual(Array.from({ length: 500 }, (_, n) => codes[n % codes.length]));
    expect(await usage(id)).toMatchObject({ current: 1_000, daily: { "2026-03-10": 1_000 } });
    expect(await context.store.count({ entity: usageEvent, scope: id })).toBe(500);
  });

  it("U08: counts an event once, in one batch, in the next, and through the other route", async () => {
    const { id } = await context.tenant();
    const event = eventOf(id, "once", { amount: 3, userId: "u", properties: { a: [1, { b: null }] } });
    const again = { ...event, traceparent: "00-ab" };
    const statuses = (await ingest(event, again, { ...event, data: { amount: 4 } }, { ...event, source: "/other" })).map(({ status }) =>
      status
    );
    expect(statuses).toEqual(["accepted", "duplicate", "rejected", "accepted"]);
    context.clock.advance(3_600_000);
    const [repeat, other, elsewhere] = await ingest(again, { ...event, data: { amount: 4 } }, {
      ...event,
      subject: (await context.tenant()).id,
    });
    expect(repeat).toMatchObject({ status: "duplicate", period: "2026-03", applied: true });
    expect([other, elsewhere]).toMatchObject([{ error: { code: "idempotency_mismatch" } }, { error: { code: "idempotency_mismatch" } }]);
    expect(await usage(id)).toMatchObject({ current: 6 });
    const track = () => context.UsageEventService.track(id, { meter_id: "api_calls", event_value: 2, event_id: "t" });
    expect([(await track()).status, (await track()).status]).toEqual(["accepted", "duplicate"]);
    expect(await codeOf(context.UsageEventService.track(id, { meter_id: "api_calls", event_id: "t" }))).toBe("idempotency_mismatch");
    const keyed = () => context.as({ idempotency: { operation: "track", key: "once", request: {} } }).UsageEventService;
    const counted = await keyed().track(id, { meter_id: "api_calls" });
    expect(await keyed().track(id, { meter_id: "api_calls" }), "with the id of the event that was counted").toEqual(counted);
    expect(await context.UsageEventService.get(id, counted.usageEventId)).toMatchObject({ amount: 1 });
    expect(await codeOf(context.UsageEventService.track(id, { meter_id: "no_such" }))).toBe("not_found");
    expect(await codeOf(context.UsageEventService.track("tn_none", { meter_id: "api_calls" }))).toBe("not_found");
    expect(await usage(id)).toMatchObject({ current: 9 });
  });

  it("U09: loses none and counts none twice under two senders of one shuffled batch, increments between, and a crash between its commits", async () => {
    const random = seededRandom("U09 shuffled batches");
    const { id } = await context.tenant();
    const events = Array.from(
      { length: 400 },
      (_, n) => eventOf(id, `s-${n}`, { amount: 1 + random.below(9), dimensions: { endpoint: `/v1/${random.below(20)}` } }),
    );
    const shuffled = () => events.map((event) => ({ event, at: random.below(1e9) })).sort((a, b) => a.at - b.at).map(({ event }) => event);
    const stores = await context.racers(3) as [Store, Store, Store];
    const [first, ...others] = stores;
    const dying = dyingAfter(first, 1);
    const send = (store: Store) => context.over(store).UsageEventService.ingest(batchOf(...shuffled()));
    const crashing = send(dying.store);
    crashing.catch(() => undefined);
    // Else the others can have counted everything before its second commit.
    await expect.poll(() => dying.commits(), { interval: 1 }).toBeGreaterThan(0);
    const [crashed, ...sent] = await Promise.allSettled([
      crashing,
      ...others.map(send),
      ...Array.from({ length: 20 }, () => context.UsageService.increment(id, "api_calls")),
    ]);
    expect(crashed, `seed ${random.seed}`).toMatchObject({ status: "rejected", reason: { message: DIED } });
    expect(dying.commits()).toBe(2);
    expect(sent.filter(({ status }) => status === "rejected")).toEqual([]);
    const again = await context.UsageEventService.ingest(batchOf(...shuffled()));
    expect(new Set(again.map(({ status }) => status)), `seed ${random.seed}`).toEqual(new Set(["duplicate"]));
    const total = events.reduce((sum, { data }) => sum + Number(data?.["amount"]), 0);
    expect((await usage(id))?.current, `seed ${random.seed}`).toBe(total + 20);
    const groups = await context.UsageEventService.groups(id, "api_calls", "endpoint");
    expect(groups?.data.reduce((sum, { amount }) => sum + amount, 0), `seed ${random.seed}`).toBe(total);
    expect(await replay(id)).toEqual({ "2026-03": total });
  });

  it("U10: is refused to a tenant's own users", async () => {
    const { id } = await context.tenant();
    expect(await codeOf(context.as(userOf(id)).UsageEventService.ingest(batchOf(eventOf(id, "x"))))).toBe("forbidden");
    expect(await codeOf(context.as(userOf(id)).UsageEventService.track(id, { meter_id: "api_calls" }))).toBe("forbidden");
  });

  it("U10: keeps the events that fit when one makes the sum inexact or is too large to store", async () => {
    const { id } = await context.tenant({ plan: "Enterprise" });
    const results = await ingest(
      eventOf(id, "i0", { amount: 1e12 }),
      eventOf(id, "i1", { amount: 0.000001 }),
      eventOf(id, "i2", { properties: { text: "x".repeat(300_000) } }),
      eventOf(id, "i3", { amount: 5 }),
    );
    expect(results.map((result) => result.status === "rejected" ? result.error.code : result.status))
      .toEqual(["accepted", "inexact_sum", "payload_too_large", "accepted"]);
    expect(await usage(id)).toMatchObject({ current: 1e12 + 5 });
  });
});

describe("late usage events", () => {
  it("U11: land in their own month until it is closed, then in the current month as a visible adjustment", async () => {
    const { id } = await context.tenant();
    const late = (n: string): SentEvent => eventOf(id, n, { amount: 7 }, { time: "2026-02-20T08:00:00Z" });
    context.clock.set("2026-03-03T23:59:59.999Z");
    expect(await ingest(late("l1"))).toMatchObject([{ status: "accepted", period: "2026-02" }]);
    context.clock.set("2026-03-04T00:00:00.000Z");
    expect(await ingest(late("l2"), late("l1"))).toMatchObject([
      { status: "adjusted", period: "2026-03", adjusts: "2026-02" },
      { status: "duplicate", period: "2026-02" },
    ]);
    expect(await usage(id, "2026-02")).toMatchObject({ current: 7, daily: { "2026-02-20": 7 } });
    expect(await usage(id)).toMatchObject({ current: 7, daily: { "2026-03-04": 7 }, adjustments: { "2026-02": 7 } });
    expect(await replay(id)).toEqual({ "2026-02": 7, "2026-03": 7 });
  });

  it("U11: of a gauge set its level in the order of their times; an older one is stored and leaves the level", async () => {
    const { id } = await context.tenant();
    const level = (n: string, amount: number, time: string) => eventOf(id, n, { amount }, { type: "rooms", time });
    const results = await ingest(
      level("g1", 40, "2026-03-09T10:00:00Z"),
      level("g2", 42, "2026-03-10T11:00:00Z"),
      level("g3", 41, "2026-03-10T10:00:00Z"),
    );
    expect(results).toMatchObject([{ applied: true }, { applied: true }, { status: "accepted", applied: false }]);
    expect(await usage(id, "2026-03", "rooms")).toMatchObject({
      current: 42,
      daily: { "2026-03-09": 40, "2026-03-10": 42 },
      levelAt: "2026-03-10T11:00:00.000Z",
    });
    const stores = await context.racers(4);
    await Promise.all(
      stores.map((store, n) =>
        context.over(store).UsageEventService.ingest(batchOf(level(`r${n}`, 50 + n, `2026-03-10T11:0${n + 1}:00Z`)))
      ),
    );
    expect((await usage(id, "2026-03", "rooms"))?.current).toBe(53);
  });

  it("U11: of a gauge leave a level that a call has set since, and that of a closed month", async () => {
    const { id } = await context.tenant();
    const level = (n: string, time: string) => eventOf(id, n, { amount: 4 }, { type: "rooms", time });
    await context.UsageService.record(id, "rooms", 9, undefined, "2026-02");
    await context.UsageService.increment(id, "rooms", 6);
    const isApplied = async (n: string, time: string) => await ingest(level(n, time));
    expect(await isApplied("before the call", "2026-03-09T10:00:00Z")).toMatchObject([{ status: "accepted", applied: false }]);
    expect(await isApplied("of a closed month", "2026-02-28T10:00:00Z")).toMatchObject([{ status: "accepted", applied: false }]);
    const now = new Date(context.clock.now()).toISOString();
    expect(await isApplied("after the call", now)).toMatchObject([{ applied: true }]);
    expect([(await usage(id, "2026-02", "rooms"))?.current, (await usage(id, "2026-03", "rooms"))?.current]).toEqual([9, 4]);
  });
});

describe("dimensions", () => {
  it("U20: of a metric sum the events by value; the 201st value is refused, known ones still count", async () => {
    const { id } = await context.tenant();
    const call = (n: number, endpoint: string, method = "GET") => eventOf(id, `d-${n}`, { dimensions: { endpoint, method } });
    const results = await ingest(...Array.from({ length: 210 }, (_, n) => call(n, `/v1/${n}`)), call(500, "/v1/7", "POST"));
    expect(results.filter(({ status }) => status === "accepted")).toHaveLength(201);
    expect(results[200]).toMatchObject({ status: "rejected", error: { code: "too_many_groups", path: "/data/dimensions/endpoint" } });
    expect(await context.UsageEventService.groups(id, "api_calls", "method")).toMatchObject({
      data: [{ value: "GET", amount: 200 }, { value: "POST", amount: 1 }],
    });
    const endpoints = await context.UsageEventService.groups(id, "api_calls", "endpoint", "2026-03");
    expect(endpoints?.data).toHaveLength(200);
    expect(endpoints?.data[0]).toEqual({ value: "/v1/7", amount: 2 });
    expect((await usage(id))?.current).toBe(201);
    expect(await codeOf(context.UsageEventService.groups(id, "api_calls", "region"))).toBe("invalid_parameter");
  });

  it("U20: 8 processes that fill the last places of a dimension together never pass 200", async () => {
    const { id } = await context.tenant();
    await ingest(...Array.from({ length: 190 }, (_, n) => eventOf(id, `f-${n}`, { dimensions: { endpoint: `/${n}` } })));
    const stores = await context.racers(8);
    const results = await Promise.all(
      stores.map((store, n) =>
        context.over(store).UsageEventService.ingest(
          batchOf(...[0, 1, 2].map((k) => eventOf(id, `g-${n}-${k}`, { dimensions: { endpoint: `/new-${n}-${k}` } }))),
        )
      ),
    );
    expect(results.flat().filter(({ status }) => status === "accepted")).toHaveLength(10);
    expect((await context.UsageEventService.groups(id, "api_calls", "endpoint"))?.data).toHaveLength(200);
  });
});

describe("voids and corrections", () => {
  it("U19: are audited, happen once, and go to the month of the event or, once it is closed, to the current one", async () => {
    const { id } = await context.tenant();
    const [first, second] = await ingest(
      eventOf(id, "v1", { amount: 10, dimensions: { endpoint: "/a" } }),
      eventOf(id, "v2", { amount: 4 }),
    );
    const [one, two] = [first?.usageEventId ?? "", second?.usageEventId ?? ""];
    const service = context.UsageEventService;
    expect(await service.correct(id, one, { amount: 6, reason: "counted twice" })).toMatchObject({
      status: "corrected",
      amount: 10,
      counted: { "2026-03": 6 },
    });
    expect(await service.groups(id, "api_calls", "endpoint")).toMatchObject({ data: [{ value: "/a", amount: 6 }] });
    const voids = await Promise.all(
      (await context.racers(4)).map((store) => context.over(store).UsageEventService.void(id, two, { reason: "test" })),
    );
    expect(voids.map((event) => event?.counted)).toEqual(Array(4).fill({ "2026-03": 0 }));
    expect(await usage(id)).toMatchObject({ current: 6, daily: { "2026-03-10": 6 } });
    const actions = (await context.auditOf(id)).map(({ action }) => action).filter((action) => String(action).startsWith("usage-event"));
    expect(actions).toEqual(["usage-event.corrected", "usage-event.voided"]);
    expect(await codeOf(service.correct(id, two, { amount: 1, reason: "x" }))).toBe("invalid_transition");
    context.clock.set("2026-04-10T12:00:00.000Z");
    expect(await codeOf(service.void(id, one, { reason: "late" }))).toBe("usage_below_zero");
    await context.UsageService.increment(id, "api_calls", 20);
    expect(await service.void(id, one, { reason: "late" })).toMatchObject({ counted: { "2026-03": 6, "2026-04": -6 } });
    expect(await usage(id)).toMatchObject({ current: 6 });
    expect(await usage(id, "2026-04")).toMatchObject({ current: 14, adjustments: { "2026-03": -6 } });
    expect(await service.void((await context.tenant()).id, one, { reason: "x" }).catch(({ code }) => code)).toBe("not_found");
  });

  it("U19: leave totals equal to a replay of the event log, after random events, repeats, voids and corrections", async () => {
    const random = seededRandom("U19 replay");
    const { id } = await context.tenant();
    const known: string[] = [];
    for (let round = 0; round < 12; round++) {
      context.clock.advance(random.below(4) * 86_400_000);
      const events = Array.from({ length: 10 }, () => {
        const ago = random.below(50) * 86_400_000;
        return eventOf(id, `r-${random.below(100)}`, { amount: random.below(1_000) / 100 }, { time: context.clock.iso(-ago) });
      });
      for (const { usageEventId } of await ingest(...events)) if (usageEventId) known.push(usageEventId);
      for (let n = 0; n < 3 && known.length > 0; n++) {
        const event = random.pick(known);
        const change = random.below(2) === 0
          ? context.UsageEventService.void(id, event, { reason: "r" })
          : context.UsageEventService.correct(id, event, { amount: random.below(500) / 100, reason: "r" });
        await change.catch(({ code }) => expect(["usage_below_zero", "invalid_transition"], `seed ${random.seed}`).toContain(code));
      }
    }
    const months = await replay(id);
    for (const [period, total] of Object.entries(months)) {
      const record = await usage(id, period);
      expect(record?.current, `${period}, seed ${random.seed}`).toBe(total);
      expect(Object.values(record?.daily ?? {}).reduce(plus, 0), `${period}, seed ${random.seed}`).toBe(total);
    }
  });
});
