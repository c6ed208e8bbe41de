import { describe, expect, test } from "vitest";
import type { LineItem } from "../../../shared/features/invoices/entity.ts";
import type { Plan } from "../../../shared/features/plans/entity.ts";
import { MAX_PENDING_ITEMS, type Subscription, subscription as entity } from "../../../shared/features/subscriptions/entity.ts";
import { changeWithKeptPrice, changeWithNextPeriod, planChange } from "../../../shared/features/subscriptions/proration.ts";
import { addInterval } from "../../../shared/core/periods.ts";
import { seededRandom } from "../../support/random.ts";

const DAY = 86_400_000;

function planOf(id: string, price: number, terms: Partial<Plan> = {}): Plan {
  const fixed = { currency: "USD", interval: "monthly", intervalCount: 1, limits: {}, features: [] as string[] } as const;
  const text = { name: id, displayName: id, description: "", planVersion: 1, active: true, createdAt: "2026-01-01T00:00:00.000Z" };
  return { id, price, ...fixed, ...text, ...terms };
}

const [basic, pro, enterprise] = [planOf("Basic", 9_900), planOf("Pro", 29_900), planOf("Enterprise", 99_900)];

/** A subscription to Pro for January 2026, which is invoiced. */
function january(fields: Partial<Subscription> = {}): Subscription {
  const [currentPeriodStart, currentPeriodEnd] = ["2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"];
  const paid = { currentPeriodStart, currentPeriodEnd, anchorDay: 1, invoicedUntil: currentPeriodEnd, nextBillingAt: currentPeriodEnd };
  return entity.schema.parse({ ...entity.example, status: "active", ...paid, ...fields });
}

/** A subscription to a plan for one period from `start`. */
function from(start: string, plan: Plan): Subscription {
  const end = addInterval(start, plan);
  return january({ planId: plan.id, currentPeriodStart: start, currentPeriodEnd: end, invoicedUntil: end });
}

const at = (day: string) => `${day}T00:00:00.000Z`;
const amounts = (items: readonly LineItem[]) => items.map(({ amount }) => amount);

describe("a plan change settles the rest of the period", () => {
  const quarter = { interval: "monthly", intervalCount: 3 } as const;
  const year = { interval: "yearly" } as const;
  const yen = { currency: "JPY" };
  const dinar = { currency: "KWD" };
  test.each<[string, Subscription, Plan, Plan, string, number[]]>([
    ["21 of 31 days", january(), pro, enterprise, at("2026-01-11"), [-20_255, 67_674]],
    [
      "49 of 91 days",
      from(at("2026-04-01"), planOf("A", 9_100, quarter)),
      planOf("A", 9_100, quarter),
      planOf("B", 18_200, quarter),
      at("2026-05-13"),
      [-4_900, 9_800],
    ],
    ["15 of 29 days", from(at("2028-02-01"), planOf("A", 2_900)), planOf("A", 2_900), planOf("B", 5_800), at("2028-02-15"), [
      -1_500,
      3_000,
    ]],
    [
      "306 of 366 days",
      from(at("2028-01-01"), planOf("A", 36_600, year)),
      planOf("A", 36_600, year),
      planOf("B", 73_200, year),
      at("2028-03-01"),
      [-30_600, 61_200],
    ],
    ["yen", from(at("2026-04-01"), planOf("A", 999, yen)), planOf("A", 999, yen), planOf("B", 2_001, yen), at("2026-04-16"), [-500, 1_001]],
    ["fils", from(at("2026-04-01"), planOf("A", 29_901, dinar)), planOf("A", 29_901, dinar), planOf("B", 1, dinar), at("2026-04-16"), [
      -14_951,
      1,
    ]],
    ["the highest price", from(at("2026-04-01"), planOf("A", 1e14)), planOf("A", 1e14), planOf("B", 1e14 - 1), at("2026-04-16"), [
      -5e13,
      5e13,
    ]],
    ["the first millisecond", january(), pro, enterprise, at("2026-01-01"), [-29_900, 99_900]],
    ["the last millisecond", january(), pro, enterprise, "2026-01-31T23:59:59.999Z", []],
    ["the end", january(), pro, enterprise, at("2026-02-01"), []],
    ["after the end: the renewal is late", january(), pro, enterprise, at("2026-02-04"), []],
    ["before the start: the clock went back", january(), pro, enterprise, at("2025-12-31"), [-29_900, 99_900]],
    ["a credit larger than the charge", january(), enterprise, basic, at("2026-01-11"), [-67_674, 6_706]],
    ["to a free plan", january(), pro, planOf("Free", 0), at("2026-01-11"), [-20_255]],
    ["past due", january({ status: "past_due" }), pro, enterprise, at("2026-01-11"), [-20_255, 67_674]],
    ["due to be cancelled", january({ cancelAtPeriodEnd: true }), pro, enterprise, at("2026-01-11"), [-20_255, 67_674]],
    ["on trial", january({ status: "trialing" }), pro, enterprise, at("2026-01-11"), []],
    ["in the free rest of a trial that was activated early", january({ anchorDay: undefined }), pro, enterprise, at("2026-01-11"), []],
  ])("B11, B12: %s", (_, subscription, old, plan, now, expected) => {
    const change = planChange(subscription, old, plan, now);
    expect(amounts(change.items)).toEqual(expected);
    expect(change.net).toBe(expected.reduce((sum, amount) => sum + amount, 0));
    expect(change.subscription).toMatchObject({ planId: plan.id, planVersion: 1, pendingItems: change.items });
    const { planId: _plan, planVersion: _version, pendingItems: _items, monthPlan, ...rest } = change.subscription;
    expect(subscription).toMatchObject(rest);
    expect(monthPlan).toEqual({ period: now.slice(0, 7), planId: subscription.planId, planVersion: subscription.planVersion });
  });

  test("B11: the items name the plan and the dates", () => {
    const part = { quantity: 1, kind: "proration", periodStart: at("2026-01-11"), periodEnd: at("2026-02-01") };
    expect(planChange(january(), pro, enterprise, at("2026-01-11")).items).toEqual([
      { ...part, description: "Pro, not used from 2026-01-11 to 2026-02-01", unitAmount: -20_255, amount: -20_255 },
      { ...part, description: "Enterprise, from 2026-01-11 to 2026-02-01", unitAmount: 67_674, amount: 67_674 },
    ]);
  });

  test("B11: a period that has no invoice yet is charged the old plan until the change, because its invoice will have the new one", () => {
    const due = january({ invoicedUntil: undefined });
    const items = planChange(due, pro, enterprise, at("2026-01-11")).items;
    expect(items.map(({ description, amount }) => [description, amount])).toEqual([
      ["Pro, from 2026-01-01 to 2026-01-11", 9_645],
      ["Enterprise, not used from 2026-01-01 to 2026-01-11", -32_226],
    ]);
    expect(planChange(due, pro, enterprise, at("2026-01-01")).items).toEqual([]);
  });

  test("B11: several changes add up, and a change back at the same instant sums to zero", () => {
    let changed = planChange(january(), pro, enterprise, at("2026-01-11")).subscription;
    changed = planChange(changed, enterprise, basic, at("2026-01-16")).subscription;
    changed = planChange(changed, basic, pro, at("2026-01-22")).subscription;
    expect(amounts(changed.pendingItems)).toEqual([-20_255, 67_674, -51_561, 5_110, -3_194, 9_645]);
    const there = planChange(january(), pro, enterprise, at("2026-01-11"));
    const back = planChange(there.subscription, enterprise, pro, at("2026-01-11"));
    expect([there.net + back.net, amounts(back.subscription.pendingItems)]).toEqual([0, [-20_255, 67_674, -67_674, 20_255]]);
  });

  test("B11: more changes than an invoice has lines are added up, without a change of the sum", () => {
    let changed = january();
    let net = 0;
    for (let i = 0; i < 150; i++) {
      const [old, next] = i % 2 === 0 ? [pro, enterprise] as const : [enterprise, pro] as const;
      const change = planChange(changed, old, next, new Date(Date.parse(at("2026-01-02")) + i * 3_600_000).toISOString());
      [changed, net] = [change.subscription, net + change.net];
    }
    expect(changed.pendingItems).toHaveLength(MAX_PENDING_ITEMS);
    expect(changed.pendingItems[0]).toMatchObject({ description: "Earlier changes of plan", periodStart: at("2026-01-02") });
    expect(changed.pendingItems.reduce((sum, { amount }) => sum + amount, 0)).toBe(net);
    entity.schema.parse(changed);
  });
});

describe("a change to another interval", () => {
  const yearly = planOf("Yearly", 299_000, { interval: "yearly" });

  test("B11: starts a period, which is not invoiced yet, and credits the rest of the old one", () => {
    const change = planChange(january(), pro, yearly, "2026-01-11T06:00:00.000Z");
    expect(amounts(change.items)).toEqual([-20_014]);
    expect(change).toMatchObject({ startsPeriod: true, net: -20_014 });
    const start = "2026-01-11T06:00:00.000Z";
    const period = { currentPeriodStart: start, currentPeriodEnd: "2027-01-11T06:00:00.000Z", anchorDay: 11, invoicedUntil: start };
    expect(change.subscription).toMatchObject({ planId: "Yearly", ...period });
  });

  test("B11: back to a shorter one leaves no part of the longer period paid", () => {
    const paid = from(at("2026-01-01"), yearly);
    const change = planChange(paid, yearly, pro, at("2026-07-02"));
    expect(amounts(change.items)).toEqual([-149_910]);
    const period = { currentPeriodStart: at("2026-07-02"), currentPeriodEnd: at("2026-08-02"), invoicedUntil: at("2026-07-02") };
    expect(change.subscription).toMatchObject(period);
  });

  test("B11: from a period without an invoice charges the part that was used", () => {
    const change = planChange(january({ invoicedUntil: undefined }), pro, yearly, at("2026-01-11"));
    expect(change.items).toMatchObject([{ amount: 9_645, description: "Pro, from 2026-01-01 to 2026-01-11" }]);
  });

  test("B11: three months and one month are different intervals, and on trial nothing starts", () => {
    const quarterly = planOf("Quarter", 80_000, { intervalCount: 3 });
    expect(planChange(january(), pro, quarterly, at("2026-01-11"))).toMatchObject({ startsPeriod: true });
    const trial = january({ status: "trialing" });
    expect(planChange(trial, pro, quarterly, at("2026-01-11"))).toMatchObject({
      startsPeriod: false,
      subscription: { currentPeriodEnd: trial.currentPeriodEnd },
    });
  });
});

describe("a plan migration", () => {
  test("CP10: with the next period leaves the present one at its price, invoiced or not", () => {
    for (const invoicedUntil of [january().invoicedUntil, undefined]) {
      const { items, subscription } = changeWithNextPeriod(january({ invoicedUntil }), pro, enterprise, at("2026-01-11"));
      expect(items).toEqual([]);
      expect(subscription).toMatchObject({ planId: "Enterprise", periodPrice: { price: 29_900, interval: "monthly", intervalCount: 1 } });
    }
  });

  test("CP10: a plan change after it settles what the present period costs, not what the next one would", () => {
    const annual = planOf("Annual", 299_000, { interval: "yearly" });
    for (const migrated of [enterprise, annual]) {
      const { subscription } = changeWithNextPeriod(january(), pro, migrated, at("2026-01-11"));
      const next = planChange(subscription, migrated, basic, at("2026-01-11"));
      expect(amounts(next.items)).toEqual([-20_255, 6_706]);
      expect(next.subscription).not.toHaveProperty("periodPrice");
    }
    // Moved twice, and then to a version without a billing change: the next periods have the price of the second move.
    const twice = changeWithNextPeriod(
      changeWithNextPeriod(january(), pro, enterprise, at("2026-01-11")).subscription,
      enterprise,
      basic,
      at("2026-01-11"),
    ).subscription;
    expect(twice.periodPrice?.price).toBe(29_900);
    expect(changeWithKeptPrice(twice, basic, pro, at("2026-01-11")).subscription).toMatchObject({
      periodPrice: { price: 29_900 },
      keptPrice: { price: 9_900 },
    });
  });

  test("CP10: without a billing change keeps the price, until the next plan change", () => {
    const kept = changeWithKeptPrice(january(), pro, enterprise, at("2026-01-11")).subscription;
    expect(kept).toMatchObject({
      planId: "Enterprise",
      keptPrice: { price: 29_900, currency: "USD", interval: "monthly", intervalCount: 1 },
    });
    const next = planChange(kept, { ...enterprise, ...kept.keptPrice }, basic, at("2026-01-11"));
    expect(amounts(next.items)).toEqual([-20_255, 6_706]);
    expect(next.subscription).not.toHaveProperty("keptPrice");
  });
});

test("B11: any sequence of changes costs the time-weighted price of the period, within half a unit for each item", () => {
  const random = seededRandom("proration");
  for (let round = 0; round < 300; round++) {
    const plans = Array.from({ length: 4 }, (_, i) => planOf(`P${i}`, random.below(1e6)));
    let plan = random.pick(plans);
    const start = new Date(Date.UTC(2026, random.below(60), 1) + random.below(DAY)).toISOString();
    const isInvoiced = random.below(2) === 0;
    let subscription: Subscription = { ...from(start, plan), ...(isInvoiced ? {} : { invoicedUntil: undefined }) };
    const [startMs, endMs] = [Date.parse(start), Date.parse(subscription.currentPeriodEnd)];
    const instants = Array.from({ length: random.below(12) }, () => startMs + random.below(endMs - startMs)).toSorted((a, b) => a - b);
    let [cost, since, items, invoiced] = [0, startMs, 0, plan.price];
    for (const instant of instants) {
      const to = random.pick(plans);
      cost += plan.price * (instant - since) / (endMs - startMs);
      const change = planChange(subscription, plan, to, new Date(instant).toISOString());
      [subscription, items, since, plan] = [change.subscription, items + change.items.length, instant, to];
    }
    cost += plan.price * (endMs - since) / (endMs - startMs);
    if (!isInvoiced) invoiced = plan.price;
    const charged = invoiced + subscription.pendingItems.reduce((sum, { amount }) => sum + amount, 0);
    expect(Math.abs(charged - cost), `round ${round}`).toBeLessThanOrEqual(items * 0.5 + 1e-6);
    expect(subscription).toMatchObject({ currentPeriodStart: start, planId: plan.id });
  }
});
