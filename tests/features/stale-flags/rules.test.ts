import { describe, expect, test } from "vitest";
import { type Flag, flag as flagEntity } from "../../../shared/features/flags/entity.ts";
import { constantResult, findingsOf } from "../../../shared/features/stale-flags/rules.ts";

const CREATED = "2026-01-01T00:00:00.000Z";
const flagOf = (given: Partial<Flag>): Flag =>
  flagEntity.schema.parse({ id: "ff_1", key: "a", name: "A", status: "enabled", created: CREATED, updated: CREATED, ...given });
const always = (given: object) => ({ id: "r", when: [], ...given });

describe("a flag alone", () => {
  test.each<[name: string, given: Partial<Flag>, result: "on" | "off" | null]>([
    ["enabled", {}, "on"],
    ["at 100 %", { rolloutPercentage: 100 }, "on"],
    ["at 99.99 %", { rolloutPercentage: 99.99 }, null],
    ["at 0 %", { rolloutPercentage: 0 }, "off"],
    ["disabled, whatever else it says", { status: "disabled", rolloutPercentage: 50, enabledForTenants: ["tn_1"] }, "off"],
    ["beta without tenants", { status: "beta" }, "off"],
    ["beta with a tenant", { status: "beta", enabledForTenants: ["tn_1"] }, null],
    ["with a tenant that is on anyway", { enabledForTenants: ["tn_1"] }, "on"],
    ["with a tenant that is off", { disabledForTenants: ["tn_1"] }, null],
    ["at 0 % with a tenant that is on", { rolloutPercentage: 0, enabledForTenants: ["tn_1"] }, null],
    ["for plans", { scope: "plan", enabledForPlans: ["Pro"] }, null],
    ["for no plans", { scope: "plan" }, "off"],
    ["for plans at 0 %", { scope: "plan", enabledForPlans: ["Pro"], rolloutPercentage: 0 }, "off"],
    ["for tenants, none of which is named", { scope: "tenant" }, "off"],
    ["for tenants, one of which is named", { scope: "tenant", enabledForTenants: ["tn_1"] }, null],
    ["with a rule that says the same", { rules: [always({})] }, "on"],
    ["with a rule that is off", { rules: [always({ enabled: false })] }, null],
    ["at 0 % with a rule that is off", { rolloutPercentage: 0, rules: [always({ enabled: false })] }, "off"],
    ["with a rule for 50 %", { rules: [always({ rolloutPercentage: 50 })] }, null],
    [
      "with a rule for another variant",
      { type: "string", variants: { a: "a", b: "b" }, onVariant: "a", rules: [always({ variant: "b" })] },
      null,
    ],
    ["with weights", { type: "string", variants: { a: "a", b: "b" }, weights: { a: 50, b: 50 } }, null],
    ["with one weight", { type: "string", variants: { a: "a", b: "b" }, weights: { a: 100, b: 0 } }, "on"],
    ["with weights, at 0 %", { type: "string", variants: { a: "a", b: "b" }, weights: { a: 50, b: 50 }, rolloutPercentage: 0 }, "off"],
  ])("F21: %s gives every tenant the same, or not", (_, given, result) => {
    expect(constantResult(flagOf(given))).toBe(result);
  });
});

describe("the report on a flag", () => {
  const CUTOFF = "2026-03-01T00:00:00.000Z";
  const [BEFORE, AFTER] = ["2026-02-28T23:59:59.999Z", "2026-03-01T00:00:00.001Z"];
  const reasonsOf = (given: Partial<Flag>, facts: Partial<Parameters<typeof findingsOf>[0]> & { seen?: object } = {}) => {
    const { seen = { lastEvaluatedAt: AFTER }, ...rest } = facts;
    const evaluation = { flagId: "ff_1", createdAt: CREATED, ...seen };
    return findingsOf({ flag: flagOf(given), evaluation, isOverridden: false, expiredSince: null, ...rest }, CUTOFF)
      .map(({ reason, since }) => `${reason} ${since}`);
  };
  const VARIES = { rolloutPercentage: 50 };

  test.each<[name: string, reasons: string[], wanted: string[]]>([
    ["evaluated since", reasonsOf(VARIES), []],
    ["never evaluated", reasonsOf(VARIES, { seen: {} }), [`not_evaluated ${CREATED}`]],
    ["last evaluated at the cutoff", reasonsOf(VARIES, { seen: { lastEvaluatedAt: CUTOFF } }), [`not_evaluated ${CUTOFF}`]],
    ["created since and never evaluated", reasonsOf({ ...VARIES, created: AFTER }, { seen: { createdAt: AFTER } }), []],
    ["without a record of evaluations", reasonsOf(VARIES, { evaluation: null }), [`not_evaluated ${CREATED}`]],
    ["only delivered", reasonsOf(VARIES, { seen: { lastEvaluatedAt: BEFORE, lastDeliveredAt: AFTER } }), [`only_delivered ${BEFORE}`]],
    ["delivered before", reasonsOf(VARIES, { seen: { lastDeliveredAt: BEFORE } }), [`not_evaluated ${BEFORE}`]],
    ["on for everyone since before", reasonsOf({ updated: BEFORE }), [`always_on ${BEFORE}`]],
    ["on for everyone since the cutoff", reasonsOf({ updated: CUTOFF }), [`always_on ${CUTOFF}`]],
    ["on for everyone since after", reasonsOf({ updated: AFTER }), []],
    ["on for everyone but an override", reasonsOf({ updated: BEFORE }, { isOverridden: true }), []],
    ["disabled with an override, which has no effect", reasonsOf({ status: "disabled" }, { isOverridden: true }), [
      `always_off ${CREATED}`,
    ]],
    ["with an expired override", reasonsOf(VARIES, { expiredSince: AFTER }), [`overrides_expired ${AFTER}`]],
    [
      "for several reasons",
      reasonsOf({ rolloutPercentage: 0 }, { seen: {}, expiredSince: BEFORE }),
      [`not_evaluated ${CREATED}`, `always_off ${CREATED}`, `overrides_expired ${BEFORE}`],
    ],
  ])("F21: %s", (_, reasons, wanted) => {
    expect(reasons).toEqual(wanted);
  });
});
