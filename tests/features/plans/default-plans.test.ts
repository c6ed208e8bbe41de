import { expect, test } from "vitest";
import { DEFAULT_PLANS } from "../../../shared/features/plans/default-plans.ts";
import { plan } from "../../../shared/features/plans/entity.ts";
import { monthlyRevenue } from "../../../shared/core/money.ts";

const createdAt = "2026-01-01T00:00:00.000Z";

test("B01: the default plans are valid, each priced in whole minor units of one currency", () => {
  const stored = { intervalCount: 1, planVersion: 1, createdAt };
  for (const shipped of DEFAULT_PLANS) expect(plan.schema.parse({ ...shipped, ...stored })).toEqual({ ...shipped, ...stored });
  expect(new Set(DEFAULT_PLANS.map(({ currency, interval }) => `${currency} ${interval}`))).toEqual(new Set(["USD monthly"]));
});

test("the default plans are Trial, Basic, Pro and Enterprise, and only Trial is free and limited in time", () => {
  const prices = DEFAULT_PLANS.map((shipped) => [shipped.id, monthlyRevenue(shipped), shipped.trialDays]);
  expect(prices).toEqual([["Trial", 0, 14], ["Basic", 99, undefined], ["Pro", 299, undefined], ["Enterprise", 999, undefined]]);
});

test("a more expensive plan never allows less, and Enterprise is unlimited", () => {
  const allowed = DEFAULT_PLANS.map(({ limits }) => Object.values(limits).map((limit) => limit === null ? Infinity : Number(limit)));
  for (const [i, limits] of allowed.entries()) {
    for (const [j, limit] of limits.entries()) expect(limit).toBeGreaterThanOrEqual(allowed[i - 1]?.[j] ?? 0);
  }
  expect(allowed.at(-1)).toEqual(Array(7).fill(Infinity));
});
