import { afterAll, expect, test } from "vitest";
import { openTestContext } from "../support/test-context.ts";

const app = await openTestContext();
const { FeatureFlagService, OfrepService, StaleFlagService } = app;
afterAll(() => app.close());

test("H29: a flag for some plans is on for their tenants, and an override decides for one", async () => {
  const [pro, basic] = [await app.tenant({ plan: "Pro" }), await app.tenant({ plan: "Basic" })];
  const flag = await FeatureFlagService.create({
    key: "channel-manager",
    name: "Channel manager",
    description: "Sells rooms on other sites.",
    scope: "plan",
    status: "enabled",
    enabledForPlans: ["Pro", "Enterprise"],
  });
  const isOn = await FeatureFlagService.isEnabled("channel-manager", pro.id);
  expect([isOn, await FeatureFlagService.isEnabled("channel-manager", basic.id)]).toEqual([true, false]);

  await FeatureFlagService.setOverride(flag.id, basic.id, {
    enabled: true,
    reason: "Trial of the sales team.",
    expiresAt: "2026-04-01T00:00:00.000Z",
  });
  const evaluation = await FeatureFlagService.evaluate("channel-manager", basic.id);
  const steps = await FeatureFlagService.explain("channel-manager", basic.id);
  const overrides = await FeatureFlagService.overridesOf(flag.id);
  expect(evaluation).toMatchObject({ enabled: true });
  expect(steps?.steps.length).toBeGreaterThan(0);
  expect(overrides.data).toHaveLength(1);
  const { created } = await FeatureFlagService.putOverride(flag.id, basic.id, { enabled: false });
  const cleared = await FeatureFlagService.clearOverride(flag.id, basic.id);
  expect([created, cleared]).toEqual([false, true]);
  const flags = await FeatureFlagService.evaluateAll(pro.id);
  expect(flags?.data).toMatchObject([{ key: "channel-manager", enabled: true }]);
});

test("H29: a rollout grows from a tenth to all, and OpenFeature clients read the same", async () => {
  const { id: tenantId } = await app.tenant();
  const flag = await FeatureFlagService.create({
    key: "new-calendar",
    name: "New calendar",
    description: "",
    scope: "global",
    status: "enabled",
    rolloutPercentage: 10,
  });
  await FeatureFlagService.update(flag.id, { rolloutPercentage: 100 });
  const read = await FeatureFlagService.get(flag.id);
  const list = await FeatureFlagService.list({ status: ["enabled"] });
  const evaluated = await OfrepService.evaluate("new-calendar", { targetingKey: tenantId });
  const all = await OfrepService.evaluateAll({ targetingKey: tenantId });
  expect(read?.rolloutPercentage).toBe(100);
  expect(list.data.map(({ key }) => key)).toContain("new-calendar");
  expect(evaluated).toMatchObject({ key: "new-calendar", value: true });
  expect(all.flags.map(({ key }) => key)).toContain("new-calendar");
  app.clock.advance(60 * 86_400_000);
  const stale = await StaleFlagService.report(30);
  expect(JSON.stringify(stale)).toContain("new-calendar");
  const deleted = await FeatureFlagService.delete(flag.id);
  expect(deleted).toBe(true);
});
