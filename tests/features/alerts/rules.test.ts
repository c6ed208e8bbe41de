import { describe, expect, test } from "vitest";
import { type Alert, alert as alertEntity } from "../../../shared/features/alerts/entity.ts";
import { alertId, type AlertMove, alertMoves, eventDataOf, nameOf, phaseOf, reachedOf } from "../../../shared/features/alerts/rules.ts";
import { isReached } from "../../../shared/features/usage/rules.ts";

const NOW = "2026-03-10T12:00:00.000Z";
const open: Alert = {
  id: "alert_1",
  tenantId: "tn_1",
  metric: "bookings",
  period: "2026-03",
  threshold: 80,
  triggered: true,
  triggeredAt: "2026-03-05T00:00:00.000Z",
  notified: true,
  openUntil: "2026-04-01T00:00:00.000Z",
};
const { openUntil: _, ...closed } = open;
const resolvedAs = (resolution: NonNullable<Alert["resolution"]>): Alert => (
  { ...closed, triggered: false, resolvedAt: "2026-03-06T00:00:00.000Z", resolution }
);

/** The moves of a tenant whose only metric has this usage of a limit of 100. */
function moves(
  current: number,
  alerts: readonly Alert[],
  { now = NOW, period = "2026-03", thresholds = [80], limit = 100 as number | null } = {},
) {
  const watched = [{ metric: "bookings", current, limit, thresholds }];
  const ids = new Map(reachedOf(watched).map((each) => [nameOf(each), `alert_of_${each.threshold}`]));
  return alertMoves({ tenantId: "tn_1", period, watched, alerts, ids, nowMs: Date.parse(now), now });
}
const short = ({ after: { threshold, triggered, resolution }, events }: AlertMove) => ({ threshold, triggered, resolution, events });

describe("a threshold", () => {
  test.each([
    // current, limit, threshold, reached
    [0, 100, 1, false],
    [79.999999, 100, 80, false],
    [80, 100, 80, true],
    [0.56, 0.7, 80, true],
    [0.559999, 0.7, 80, false],
    [0.3, 0.3, 100, true],
    [7, 9, 78, false],
    [8, 9, 88, true],
    [199.999999, 100, 200, false],
    [200, 100, 200, true],
    [1e15, 1e14, 1000, true],
    [1e15 - 1, 1e14, 1000, false],
    [0, 0, 80, false],
    [0.000001, 0, 1000, true],
    [1e15, null, 1, false],
  ])("U15: %d of %s is at %d %% or above: %s, without rounding", (current, limit, threshold, reached) => {
    expect(isReached({ current, limit }, threshold)).toBe(reached);
  });

  test("U15: thresholds of 50, 80, 100 and 200 % are reached one by one", () => {
    const thresholds = [50, 80, 100, 200];
    const reached = (current: number) => reachedOf([{ metric: "m", current, limit: 10, thresholds }]).map(({ threshold }) => threshold);
    expect([4, 5, 8, 10, 19, 20].map(reached)).toEqual([[], [50], [50, 80], [50, 80, 100], [50, 80, 100], thresholds]);
  });
});

describe("alerts of the current month", () => {
  const ALERT = ["usage.alert"] as const;
  const RESOLVED = ["usage.alert.resolved"] as const;
  test.each<[string, number, Alert[], ReturnType<typeof short>[]]>([
    ["below, none yet", 79, [], []],
    ["reached, none yet", 80, [], [{ threshold: 80, triggered: true, resolution: undefined, events: ALERT }]],
    ["reached, open", 80, [open], []],
    ["below, open", 79, [open], [{ threshold: 80, triggered: false, resolution: "below", events: RESOLVED }]],
    ["below, resolved", 79, [resolvedAs("below")], []],
    ["reached again", 80, [resolvedAs("below")], [{ threshold: 80, triggered: true, resolution: undefined, events: [] }]],
    ["still reached, resolved by a caller", 90, [resolvedAs("caller")], []],
    ["below, resolved by a caller", 79, [resolvedAs("caller")], [{ threshold: 80, triggered: false, resolution: "below", events: [] }]],
    ["reached, resolved by a clock that was ahead", 80, [resolvedAs("period_ended")], [
      { threshold: 80, triggered: true, resolution: undefined, events: [] },
    ]],
    ["open, of a threshold that the metric no longer has", 100, [{ ...open, threshold: 50 }], [
      { threshold: 80, triggered: true, resolution: undefined, events: ALERT },
      { threshold: 50, triggered: false, resolution: "below", events: RESOLVED },
    ]],
  ])("U15: %s", (_, current, alerts, expected) => {
    expect(moves(current, alerts).map(short)).toEqual(expected);
  });

  test("U15: every form matches the declaration, and an open alert alone has the end of its month", () => {
    const [made] = moves(80, []);
    const [fallen] = moves(1, [open]);
    const [again] = moves(80, [resolvedAs("below")]);
    for (const each of [made, fallen, again]) expect(alertEntity.schema.parse(each?.after)).toEqual(each?.after);
    expect(made?.after).toMatchObject({ id: "alert_of_80", triggeredAt: NOW, notified: true, openUntil: "2026-04-01T00:00:00.000Z" });
    expect(fallen?.after).toMatchObject({ triggeredAt: open.triggeredAt, resolvedAt: NOW });
    expect(fallen?.after).not.toHaveProperty("openUntil");
    expect(again?.after).toMatchObject({ triggeredAt: NOW, openUntil: "2026-04-01T00:00:00.000Z" });
    expect(again?.after).not.toHaveProperty("resolvedAt");
  });

  test("U15: without a limit there is no alert, and an open one is resolved", () => {
    expect(moves(1e9, [], { limit: null })).toEqual([]);
    const resolved = { threshold: 80, triggered: false, resolution: "below", events: ["usage.alert.resolved"] };
    expect(moves(1e9, [open], { limit: null }).map(short)).toEqual([resolved]);
  });
});

describe("alerts of another month", () => {
  test.each([
    ["2026-03", NOW, "current"],
    ["2026-02", NOW, "closing"],
    ["2026-01", NOW, "past"],
    ["2026-04", NOW, "ahead"],
    ["2025-12", "2026-01-01T00:00:00.000Z", "closing"],
    ["2026-01", "2026-01-01T00:00:00.000Z", "current"],
    ["2025-12", "2025-12-31T23:59:59.999Z", "current"],
  ])("U15: %s at %s is %s", (period, now, phase) => {
    expect(phaseOf(period, Date.parse(now))).toBe(phase);
  });

  test("U15: a threshold of the month before is still reported, as resolved, and one of an older or later month is not", () => {
    const of = (period: string) => moves(80, [], { period }).map(short);
    expect(of("2026-02")).toEqual([
      { threshold: 80, triggered: false, resolution: "period_ended", events: ["usage.alert", "usage.alert.resolved"] },
    ]);
    expect([of("2026-01"), of("2026-04")]).toEqual([[], []]);
  });

  test("U15: an open alert of a month that is over is resolved, and a resolved one stays as it is", () => {
    for (const period of ["2026-02", "2025-07"]) {
      const its = { ...open, period };
      expect(moves(100, [its], { period }).map(short)).toEqual([
        { threshold: 80, triggered: false, resolution: "period_ended", events: ["usage.alert.resolved"] },
      ]);
      for (const current of [1, 100]) expect(moves(current, [{ ...resolvedAs("caller"), period }], { period })).toEqual([]);
    }
  });
});

test("U15: an alert's id follows from metric, month and threshold, and sorts by the month", async () => {
  const about = { metric: "bookings", period: "2026-03", threshold: 80 };
  const id = await alertId(about);
  expect(id).toMatch(/^alert_1772323200000_[0-9a-z]{12}$/);
  expect(await alertId(about)).toBe(id);
  const others = await Promise.all([
    alertId({ ...about, metric: "rooms" }),
    alertId({ ...about, threshold: 81 }),
    alertId({ ...about, period: "2026-02" }),
  ]);
  expect(new Set([id, ...others]).size).toBe(4);
});

test.each([
  [210, 100, 210],
  [79.99, 100, 79],
  [1, 0, 100],
  [5, null, 0],
  [29, 100, 29],
  [58, 100, 58],
  [1e15, 0.000001, Number.MAX_SAFE_INTEGER],
])("U15: the event of %d of %s says %d %%", (current, limit, percentage) => {
  expect(eventDataOf(open, { current, limit })).toEqual({
    tenantId: "tn_1",
    metric: "bookings",
    period: "2026-03",
    threshold: 80,
    current,
    limit,
    percentage,
  });
});
