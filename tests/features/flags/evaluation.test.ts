import { describe, expect, test } from "vitest";
import { type Flag, flag as flagEntity, type FlagOverride } from "../../../shared/features/flags/entity.ts";
import {
  evaluated,
  explained,
  OPENFEATURE_REASONS,
  type Reason,
  REASONS,
  type Subject,
} from "../../../shared/features/flags/evaluation.ts";

const NOW = "2026-03-01T12:00:00.000Z";
const EARLIER = "2026-03-01T11:59:59.999Z";
const LATER = "2026-03-01T12:00:00.001Z";

function flagOf(fields: Partial<Flag>): Flag {
  return flagEntity.schema.parse({ id: "ff_1", key: "f", name: "F", status: "enabled", created: NOW, updated: NOW, ...fields });
}

function subjectOf(attributes: Readonly<Record<string, unknown>> = {}): Subject {
  const own = { tenantId: "tn_1", plan: "Pro", region: "eu-west-1", status: "active" };
  return { tenantId: own.tenantId, plan: own.plan, attributes: { ...own, ...attributes }, now: NOW };
}

type Override = Pick<FlagOverride, "enabled" | "variant" | "expiresAt">;
const on: Override = { enabled: true };
const off: Override = { enabled: false };
const everyone = { id: "everyone", when: [] };
const nobody = { id: "nobody", when: [{ attribute: "plan", operator: "in" as const, values: ["Basic"] }] };
const ofPlan: Partial<Flag> = { scope: "plan", enabledForPlans: ["Pro"] };
const otherPlan: Partial<Flag> = { scope: "plan", enabledForPlans: ["Basic"] };
const listed = { enabledForTenants: ["tn_1"] };
const blocked = { disabledForTenants: ["tn_1"] };

/** Each row sets what one step looks at, and as much as possible of what the later steps look at. */
const FIXTURES:
  readonly (readonly [name: string, flag: Partial<Flag>, override: Override | undefined, enabled: boolean, reason: Reason])[] = [
    ["nothing set", {}, undefined, true, "DEFAULT"],
    ["disabled", { status: "disabled" }, undefined, false, "DISABLED"],
    ["disabled, over an override", { status: "disabled" }, on, false, "DISABLED"],
    ["disabled, over a list", { status: "disabled", ...listed }, undefined, false, "DISABLED"],
    ["disabled, over a rule", { status: "disabled", rules: [everyone] }, undefined, false, "DISABLED"],
    ["disabled, over a rollout of 100 %", { status: "disabled", rolloutPercentage: 100 }, undefined, false, "DISABLED"],
    ["an override that says on, over the list of disabled tenants", blocked, on, true, "OVERRIDE"],
    ["an override that says off, over the list of enabled tenants", listed, off, false, "OVERRIDE"],
    ["an override that says on, over the plan", otherPlan, on, true, "OVERRIDE"],
    ["an override that says on, in beta", { status: "beta" }, on, true, "OVERRIDE"],
    ["an override that says off, in beta and listed", { status: "beta", ...listed }, off, false, "OVERRIDE"],
    ["an override that says off, over a rule", { rules: [everyone] }, off, false, "OVERRIDE"],
    ["an override that says on, over a rollout of 0 %", { rolloutPercentage: 0 }, on, true, "OVERRIDE"],
    ["an override until later", {}, { enabled: false, expiresAt: LATER }, false, "OVERRIDE"],
    ["an override until now", {}, { enabled: false, expiresAt: NOW }, true, "DEFAULT"],
    ["an override until earlier, and the list", blocked, { enabled: true, expiresAt: EARLIER }, false, "TENANT_DISABLED"],
    ["on both lists", { ...blocked, ...listed }, undefined, false, "TENANT_DISABLED"],
    ["listed as disabled, over a rule", { ...blocked, rules: [everyone] }, undefined, false, "TENANT_DISABLED"],
    ["listed as disabled, over the plan", { ...blocked, ...ofPlan }, undefined, false, "TENANT_DISABLED"],
    ["listed as enabled, over the plan", { ...listed, ...otherPlan }, undefined, true, "TENANT_ENABLED"],
    ["listed as enabled, in beta", { ...listed, status: "beta" }, undefined, true, "TENANT_ENABLED"],
    [
      "listed as enabled, over a rule that says off",
      { ...listed, rules: [{ ...everyone, enabled: false }] },
      undefined,
      true,
      "TENANT_ENABLED",
    ],
    ["listed as enabled, over a rollout of 0 %", { ...listed, rolloutPercentage: 0 }, undefined, true, "TENANT_ENABLED"],
    ["another tenant is listed", { enabledForTenants: ["tn_2"], disabledForTenants: ["tn_10"] }, undefined, true, "DEFAULT"],
    ["another plan", otherPlan, undefined, false, "PLAN_NOT_INCLUDED"],
    ["another plan, over a rule", { ...otherPlan, rules: [everyone] }, undefined, false, "PLAN_NOT_INCLUDED"],
    ["another plan, over a rollout of 100 %", { ...otherPlan, rolloutPercentage: 100 }, undefined, false, "PLAN_NOT_INCLUDED"],
    ["no plan at all", { scope: "plan" }, undefined, false, "PLAN_NOT_INCLUDED"],
    ["another plan, before beta", { ...otherPlan, status: "beta" }, undefined, false, "PLAN_NOT_INCLUDED"],
    ["the tenant's plan", ofPlan, undefined, true, "DEFAULT"],
    ["a plan that does not decide, because the scope is global", { enabledForPlans: ["Basic"] }, undefined, true, "DEFAULT"],
    ["beta", { status: "beta" }, undefined, false, "BETA_NOT_OPTED_IN"],
    ["beta, of the tenant's plan", { status: "beta", ...ofPlan }, undefined, false, "BETA_NOT_OPTED_IN"],
    [
      "beta, over a rule and a rollout",
      { status: "beta", rules: [everyone], rolloutPercentage: 100 },
      undefined,
      false,
      "BETA_NOT_OPTED_IN",
    ],
    ["a rule, over a rollout of 0 %", { rules: [everyone], rolloutPercentage: 0 }, undefined, true, "TARGETING_MATCH"],
    [
      "a rule that says off, over a rollout of 100 %",
      { rules: [{ ...everyone, enabled: false }], rolloutPercentage: 100 },
      undefined,
      false,
      "TARGETING_MATCH",
    ],
    [
      "the first of two rules",
      { rules: [{ ...everyone, enabled: false }, { ...everyone, id: "second" }] },
      undefined,
      false,
      "TARGETING_MATCH",
    ],
    ["the second of two rules", { rules: [nobody, everyone] }, undefined, true, "TARGETING_MATCH"],
    [
      "a rule with a rollout of 0 %",
      { rules: [{ ...everyone, rolloutPercentage: 0 }], rolloutPercentage: 100 },
      undefined,
      false,
      "TARGETING_MATCH",
    ],
    ["a rule with a rollout of 100 %", { rules: [{ ...everyone, rolloutPercentage: 100 }] }, undefined, true, "TARGETING_MATCH"],
    ["no rule matches", { rules: [nobody], rolloutPercentage: 0 }, undefined, false, "SPLIT"],
    ["a rollout of 100 %", { rolloutPercentage: 100 }, undefined, true, "SPLIT"],
    ["a rollout by an attribute that is missing", { rolloutPercentage: 50, stickiness: "userId" }, undefined, false, "STICKINESS_MISSING"],
    ["scope tenant without a list", { scope: "tenant" }, undefined, false, "TENANT_NOT_INCLUDED"],
    ["scope tenant, and listed", { scope: "tenant", ...listed }, undefined, true, "TENANT_ENABLED"],
    ["scope tenant, with an override", { scope: "tenant" }, on, true, "OVERRIDE"],
    ["scope tenant, with a rule", { scope: "tenant", rules: [everyone] }, undefined, true, "TARGETING_MATCH"],
  ];

const COLOURS: Partial<Flag> = {
  type: "string",
  variants: { red: "#f00", blue: "#00f", grey: "#888" },
  onVariant: "red",
  offVariant: "grey",
};

describe("the value", () => {
  test.each<[string, Partial<Flag>, Override | undefined, unknown, string | null]>([
    ["on", COLOURS, undefined, "#f00", "red"],
    ["off", { ...COLOURS, status: "disabled" }, undefined, "#888", "grey"],
    ["off without an offVariant", { ...COLOURS, offVariant: undefined, status: "disabled" }, undefined, null, null],
    ["of an override", COLOURS, { enabled: true, variant: "blue" }, "#00f", "blue"],
    ["of an override that says off", COLOURS, { enabled: false, variant: "blue" }, "#00f", "blue"],
    ["of an override whose variant was removed", COLOURS, { enabled: true, variant: "pink" }, "#f00", "red"],
    ["of an override with an inherited name", COLOURS, { enabled: true, variant: "constructor" }, "#f00", "red"],
    ["of a rule", { ...COLOURS, rules: [{ ...everyone, variant: "blue" }] }, undefined, "#00f", "blue"],
    ["of a rule that says off", { ...COLOURS, rules: [{ ...everyone, enabled: false }] }, undefined, "#888", "grey"],
    [
      "outside the rollout of a rule",
      { ...COLOURS, rules: [{ ...everyone, variant: "blue", rolloutPercentage: 0 }] },
      undefined,
      "#888",
      "grey",
    ],
    ["by weight", { ...COLOURS, weights: { blue: 100 } }, undefined, "#00f", "blue"],
    ["by weight, off", { ...COLOURS, weights: { blue: 100 }, status: "disabled" }, undefined, "#888", "grey"],
    ["by weight, without the attribute", { ...COLOURS, weights: { grey: 100 }, stickiness: "userId" }, undefined, "#888", "grey"],
    ["a number", { type: "number", variants: { none: 0 }, onVariant: "none" }, undefined, 0, "none"],
    ["an object", { type: "json", variants: { a: { b: [1, null] } }, onVariant: "a" }, undefined, { b: [1, null] }, "a"],
    ["a boolean of its own", { variants: { yes: true }, onVariant: "yes" }, undefined, true, "yes"],
    ["a built-in name that the flag declares itself", { variants: { on: false } }, undefined, false, "on"],
  ])("F11: %s", (_, fields, override, value, variant) => {
    expect(evaluated(flagOf(fields), subjectOf(), override)).toMatchObject({ value, variant });
  });
});

describe("targeting", () => {
  const ofUser = (...values: string[]) => [{ attribute: "userId", operator: "in" as const, values }];

  test("F03: all conditions of a rule must hold, and any of their values", () => {
    const when = [...ofUser("u1", "u2"), { attribute: "seats", operator: "gte" as const, values: [5] }];
    const flag = flagOf({ rules: [{ id: "r", when }], rolloutPercentage: 0 });
    const reasonOf = (attributes: Readonly<Record<string, unknown>>) => evaluated(flag, subjectOf(attributes)).reason;
    expect(reasonOf({ userId: "u2", seats: 5 })).toBe("TARGETING_MATCH");
    for (
      const other of [{ userId: "u2" }, { seats: 5 }, { userId: "u3", seats: 5 }, { userId: ["u2"], seats: 5 }, { userId: null, seats: 5 }]
    ) {
      expect(reasonOf(other), JSON.stringify(other)).toBe("SPLIT");
    }
    expect(evaluated(flag, subjectOf({ userId: "u1", seats: "7" })).ruleId).toBe("r");
  });

  test("F03: an inherited member is no attribute", () => {
    const when = [{ attribute: "constructor", operator: "notIn" as const, values: ["x"] }];
    expect(evaluated(flagOf({ rules: [{ id: "r", when }], rolloutPercentage: 0 }), subjectOf()).reason).toBe("SPLIT");
  });

  test("F10: the bucket hashes the attribute that stickiness names", () => {
    const rollout = { rolloutPercentage: 50 };
    const of = (stickiness: string, attributes: Readonly<Record<string, unknown>>) =>
      evaluated(flagOf({ ...rollout, stickiness }), subjectOf(attributes)).enabled;
    const users = Array.from({ length: 200 }, (_, n) => `user-${n}`);
    expect(new Set(users.map((userId) => of("tenantId", { userId }))).size).toBe(1);
    expect(new Set(users.map((userId) => of("userId", { userId }))).size).toBe(2);
    for (const device of users) expect(of("device", { device })).toBe(of("userId", { userId: device }));
    expect(evaluated(flagOf({ ...rollout, stickiness: "userId" }), subjectOf({ userId: "" })).reason).toBe("STICKINESS_MISSING");
  });

  test("F08: a rule's rollout of 100 % is on and of 0 % is off without the attribute", () => {
    const of = (rolloutPercentage: number) =>
      evaluated(flagOf({ rules: [{ ...everyone, rolloutPercentage }], stickiness: "userId" }), subjectOf()).enabled;
    expect([of(100), of(0), of(50)]).toEqual([true, false, false]);
  });
});

describe("the order of evaluation", () => {
  test.each(FIXTURES)("F03: %s", (_, fields, override, enabled, reason) => {
    const result = evaluated(flagOf(fields), subjectOf(), override);
    expect(result).toMatchObject({ enabled, reason, value: enabled, variant: enabled ? "on" : "off", key: "f", flagId: "ff_1" });
  });

  test.each(FIXTURES)("F16: explain names every step and stops where it decides: %s", (_, fields, override, enabled, reason) => {
    const { steps, ...result } = explained(flagOf(fields), subjectOf(), override);
    expect(result).toMatchObject({ enabled, reason });
    const at = steps.findIndex(({ outcome }) => outcome === "decided");
    expect(steps.map(({ outcome }) => outcome)).toEqual(steps.map((_, i) => i < at ? "passed" : i === at ? "decided" : "not_reached"));
    expect(steps.map(({ step }) => step)).toEqual([
      ...["DISABLED", "OVERRIDE", "TENANT_DISABLED", "TENANT_ENABLED", "PLAN_NOT_INCLUDED", "BETA_NOT_OPTED_IN"],
      ...["TARGETING_MATCH", "SPLIT", "DEFAULT"],
    ]);
    expect(steps.slice(0, at + 1).every(({ detail }) => detail !== undefined && detail.length > 5)).toBe(true);
  });

  test("F03: the fixtures reach every reason that a known flag can have, and each has a reason of OpenFeature", () => {
    const reached = new Set(FIXTURES.map(([, , , , reason]) => reason));
    expect(REASONS.filter((reason) => !reached.has(reason))).toEqual(["FLAG_NOT_FOUND", "TYPE_MISMATCH"]);
    expect(Object.keys(OPENFEATURE_REASONS).sort()).toEqual([...REASONS].sort());
  });
});
