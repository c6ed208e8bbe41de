import { describe, expect, test } from "vitest";
import { type Plan, plan, planVersion } from "../../../shared/features/plans/entity.ts";
import { MIGRATION_STATUSES, type PlanMigration, planMigration } from "../../../shared/features/plan-migrations/entity.ts";
import * as rules from "../../../shared/features/plan-migrations/rules.ts";
import { type Subscription, subscription } from "../../../shared/features/subscriptions/entity.ts";
import { type Tenant, tenant } from "../../../shared/features/tenants/entity.ts";

const pro: Plan = plan.schema.parse({ ...plan.example, planVersion: 3 });
const scheme: rules.Scheme = { planId: "Pro", toPlanId: "Pro", toVersion: 3, cohort: {}, mode: "prorate" };
const subscriber = (fields: Partial<Subscription> = {}): Subscription => subscription.schema.parse({ ...subscription.example, ...fields });
const hotel = (fields: Partial<Tenant> = {}): Tenant => tenant.schema.parse({ ...tenant.example, ...fields });
const migration = (fields: Partial<PlanMigration> = {}): PlanMigration =>
  planMigration.schema.parse({ ...planMigration.example, ...fields });

describe("a plan migration", () => {
  test.each<[Partial<rules.Scheme>, string]>([
    [{ toVersion: 4 }, "/toVersion"],
    [{ fromVersions: [1, 4] }, "/fromVersions/1"],
    [{ fromVersions: [3] }, "/fromVersions/0"],
    [{ toVersion: 1 }, "/fromVersions"],
    [{ cohort: { createdFrom: "2026-02-01T00:00:00.000Z", createdTo: "2026-02-01T00:00:00.000Z" } }, "/cohort/createdTo"],
  ])("CP10: with %j is refused at %s", (fields, path) => {
    const refusal = expect.objectContaining({ code: "validation_failed", fields: [expect.objectContaining({ path })] });
    expect(() => rules.assertScheme({ ...scheme, ...fields }, pro, pro)).toThrow(refusal);
  });

  test.each<[string, Partial<rules.Scheme>, Partial<Subscription>, Partial<Tenant>, boolean]>([
    ["an earlier version", {}, { planVersion: 2 }, {}, true],
    ["the target", {}, { planVersion: 3 }, {}, false],
    ["another plan", {}, { planId: "Basic" }, {}, false],
    ["a version that is not named", { fromVersions: [1] }, { planVersion: 2 }, {}, false],
    ["any version, to another plan", { toPlanId: "Basic", toVersion: 1 }, { planVersion: 3 }, {}, true],
    ["a state that is not named", { cohort: { status: ["trialing"] } }, {}, {}, false],
    ["the region", { cohort: { region: ["eu-west-1"] } }, {}, {}, true],
    ["no region", { cohort: { region: ["eu-west-1"] } }, {}, { region: undefined }, false],
    ["the first instant", { cohort: { createdFrom: "2026-01-01T00:00:00.000Z" } }, {}, {}, true],
    ["the last instant", { cohort: { createdTo: "2026-01-01T00:00:00.000Z" } }, {}, {}, false],
    ["a tenant that is not named", { cohort: { tenantIds: ["tn_other"] } }, {}, {}, false],
  ])("CP10: and a subscriber of %s", (_, given, subscribed, owner, expected) => {
    expect(rules.isInCohort({ ...scheme, ...given }, subscriber(subscribed), hotel(owner))).toBe(expected);
  });

  test.each<[string | null, Partial<Subscription>, Partial<Tenant>]>([
    [null, {}, {}],
    [null, { status: "past_due" }, { status: "suspended" }],
    ["already_there", { planVersion: 3 }, {}],
    ["other_plan", { planId: "Basic" }, {}],
    ["cancelled", { status: "cancelled" }, {}],
    ["cancelled", {}, { status: "cancelled" }],
    ["legal_hold", {}, { metadata: { legalHold: true } }],
  ])("CP10: skips with the reason %s", (reason, subscribed, owner) => {
    expect(rules.skipReason(scheme, hotel(owner), subscriber(subscribed))).toBe(reason);
  });

  test("CP10: goes only through its states", () => {
    const steps = {
      start: (before: PlanMigration) => rules.started(before, "2026-01-02T00:00:00.000Z"),
      pause: (before: PlanMigration) => rules.stopped(before, "paused"),
      retry: rules.retried,
      cancel: (before: PlanMigration) => rules.stopped(before, "cancelled"),
    };
    const reached = (step: (before: PlanMigration) => PlanMigration, status: PlanMigration["status"]) => {
      try {
        return step(migration({ status })).status;
      } catch (error) {
        return (error as { readonly code: string }).code;
      }
    };
    const no = "invalid_transition";
    const rows = Object.entries(steps).map(([name, step]) => [name, MIGRATION_STATUSES.map((from) => reached(step, from))]);
    expect(Object.fromEntries(rows)).toEqual({
      // from:  draft       running      paused       completed    cancelled
      start: ["running", "running", "running", no, no],
      pause: [no, "paused", "paused", no, no],
      retry: [no, "running", "running", "running", no],
      cancel: ["cancelled", "cancelled", "cancelled", no, "cancelled"],
    });
  });

  test("CP10: begins the next wave when the present one is over and its time has come", () => {
    const startedAt = "2026-01-01T00:04:00.000Z";
    expect(rules.dueAt(migration({ startedAt, waveLeft: 40 }))).toBe(startedAt);
    expect(rules.dueAt(migration({ startedAt, waveLeft: 0 }))).toBe("2026-01-01T00:10:00.000Z");
    expect(rules.dueAt(migration({ startedAt, phase: "list", waveLeft: 0 }))).toBe(startedAt);
    expect(rules.dueAt(migration({ startedAt, startAt: "2026-03-01T00:00:00.000Z" }))).toBe("2026-03-01T00:00:00.000Z");
    const next = rules.inWave(migration({ waveLeft: 0 }), Date.parse("2026-01-01T00:10:30.000Z"));
    expect(next).toMatchObject({ waveLeft: 100, nextWaveAt: "2026-01-01T00:15:30.000Z" });
  });

  test("CP10: moves to the terms of the version, not to the present ones of the plan", () => {
    const version = planVersion.schema.parse({ ...planVersion.example, n: 2, price: 1, features: ["old"], limits: {} });
    const target = rules.planAt({ ...pro, trialDays: 14 }, version);
    expect(target).toMatchObject({ id: "Pro", name: "Pro", planVersion: 2, price: 1, features: ["old"], limits: {} });
    expect(target).not.toHaveProperty("trialDays");
  });
});
