import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { PlanMigrationCreate } from "../../../shared/features/plan-migrations/service.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";
import { migrating, MINUTE } from "./support.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
let on: ReturnType<typeof migrating>;
beforeAll(async () => {
  context = await openTestContext();
  on = migrating(context);
});
afterAll(() => context.close());

const DAY = 24 * 60 * MINUTE;
const versionOf = async (tenant: string) => (await on.subscriptionOf(tenant)).planVersion;

describe("a plan migration moves subscribers", () => {
  test.each(
    [
      ["prorate", 600, [-1, 1], undefined],
      ["next_period", 600, [], undefined],
      ["no_billing_change", 300, [], 30_000],
    ] as const,
  )("CP10: to the newest version of their plan, in mode %s", async (mode, mrr, signs, keptPrice) => {
    const { id: planId, tenants: [tenant = ""] } = await on.soldPlan(1);
    const before = await on.subscriptionOf(tenant);
    const id = await on.started({ planId, mode });
    expect(await on.finish(id)).toMatchObject({ status: "completed", waiting: 0, moved: 1, skipped: 0, failed: 0 });
    const after = await on.subscriptionOf(tenant);
    expect(after).toMatchObject({ id: before.id, planId, planVersion: 2, status: "active", currentPeriodEnd: before.currentPeriodEnd });
    expect(after.pendingItems.map(({ amount }) => Math.sign(amount))).toEqual(signs);
    expect(after.keptPrice?.price).toBe(keptPrice);
    expect(await context.TenantService.get(tenant)).toMatchObject({ plan: planId, mrr });
    expect((await context.UsageService.get(tenant, "rooms"))?.limit).toBe(20);
    expect((await context.auditOf(tenant)).at(-1)).toMatchObject({
      action: "subscription.migrated",
      actor: { type: "system" },
      data: { migrationId: id, tenant: { before: { mrr: 300 }, after: { mrr } } },
    });
    const events = (await context.dump("outbox")).filter(({ tenantId, value }) => (
      tenantId === tenant && (value as { readonly type?: string }).type === "subscription.migrated"
    ));
    expect(events).toHaveLength(1);
  });

  test("CP10: to another plan, with its limits and revenue", async () => {
    const { id: planId, tenants } = await on.soldPlan(3);
    const done = await on.finish(await on.started({ planId, toPlanId: "Basic", mode: "prorate" }));
    expect(done).toMatchObject({ status: "completed", toVersion: 1, moved: 3 });
    for (const tenant of tenants) {
      expect(await on.subscriptionOf(tenant)).toMatchObject({ planId: "Basic", planVersion: 1 });
      expect(await context.TenantService.get(tenant)).toMatchObject({ plan: "Basic", mrr: 99 });
      expect((await context.UsageService.get(tenant, "rooms"))?.limit).toBe(60);
    }
  });

  test("CP10: of the cohort only", async () => {
    const { id: planId, tenants: [a = "", b = "", c = ""] } = await on.soldPlan(3);
    await context.TenantService.update(b, { region: "eu-west-1" });
    await context.SubscriptionService.upsert(c, { status: "past_due" });
    const versions = () => Promise.all([a, b, c].map(versionOf));
    await on.finish(await on.started({ planId, mode: "next_period", cohort: { region: ["eu-west-1"] } }));
    expect(await versions()).toEqual([1, 2, 1]);
    await on.finish(await on.started({ planId, mode: "next_period", cohort: { status: ["past_due"] } }));
    expect(await versions()).toEqual([1, 2, 2]);
    await on.finish(await on.started({ planId, mode: "next_period", cohort: { tenantIds: [a, "tn_none"] }, fromVersions: [1] }));
    expect(await versions()).toEqual([2, 2, 2]);
  });
});

describe("a plan migration", () => {
  test("CP10: previews counts and money, and writes nothing", async () => {
    const { id: planId, tenants } = await on.soldPlan(4);
    const [a = "", b = "", c = ""] = tenants;
    await context.UsageService.record(a, "rooms", 30);
    await context.SubscriptionService.cancel(b, false);
    await context.TenantService.update(c, { mrr: 250.25, metadata: { legalHold: true } });
    const before = await context.dump();
    const preview = await context.PlanMigrationService.preview({ planId, mode: "prorate" });
    expect(await context.dump()).toEqual(before);
    expect(preview).toEqual({
      planId,
      toPlanId: planId,
      toVersion: 2,
      currency: "USD",
      subscribers: 4,
      complete: true,
      moving: 2,
      skipped: { cancelled: 1, legal_hold: 1 },
      mrr: { before: 600, after: 1_200 },
      pending: expect.anything() as unknown,
      entitlementsLost: { sso: 2 },
      limitsLowered: { rooms: 2 },
      quotasExceeded: { rooms: 1 },
    });
    await on.finish(await on.started({ planId, mode: "prorate" }));
    const items = (await Promise.all(tenants.map(on.subscriptionOf))).flatMap(({ pendingItems }) => pendingItems);
    const sum = (sign: number) => items.reduce((sum, { amount }) => sum + Math.max(0, sign * amount), 0);
    expect(preview.pending).toEqual({ charges: sum(1), credits: sum(-1) });
    expect(preview.pending.charges).toBeGreaterThan(0);
  });

  test("CP10: moves in waves, not before its start", async () => {
    const { id: planId } = await on.soldPlan(5);
    const id = await on.started({ planId, mode: "next_period", waveSize: 2, waveMinutes: 10, startAt: context.clock.iso(DAY) });
    const moved = async () => {
      await on.tick();
      return (await on.migrationOf(id)).moved;
    };
    expect(await moved()).toBe(0);
    context.clock.advance(DAY);
    expect([await moved(), await moved()]).toEqual([2, 2]);
    context.clock.advance(10 * MINUTE);
    expect([await moved(), await moved()]).toEqual([4, 4]);
    context.clock.advance(10 * MINUTE);
    expect(await moved()).toBe(5);
    expect(await on.migrationOf(id)).toMatchObject({ status: "completed", waiting: 0, completedAt: context.clock.iso() });
  });

  test("CP10: moves nobody while it is a draft, paused or cancelled, and goes on after a pause", async () => {
    const { id: planId, tenants } = await on.soldPlan(3);
    const draft = await context.PlanMigrationService.create({ planId, mode: "next_period", waveSize: 1 });
    await on.tick();
    expect(await on.migrationOf(draft.id)).toEqual(draft);
    await context.PlanMigrationService.start(draft.id);
    await on.tick();
    expect(await context.PlanMigrationService.pause(draft.id)).toMatchObject({ status: "paused", moved: 1, waiting: 2 });
    context.clock.advance(DAY);
    await on.tick();
    expect(await on.migrationOf(draft.id)).toMatchObject({ moved: 1 });
    await context.PlanMigrationService.start(draft.id);
    await on.tick();
    expect(await context.PlanMigrationService.cancel(draft.id)).toMatchObject({ status: "cancelled", moved: 2, waiting: 1 });
    context.clock.advance(DAY);
    await on.tick();
    expect((await Promise.all(tenants.map(versionOf))).toSorted()).toEqual([1, 2, 2]);
    expect(await codeOf(context.PlanMigrationService.start(draft.id))).toBe("invalid_transition");
  });

  test("CP10: lists whom it skipped and why, and tries them again", async () => {
    const { id: planId, tenants: [held = "", cancelled = "", elsewhere = "", deleted = "", kept = ""] } = await on.soldPlan(5);
    await context.TenantService.update(held, { metadata: { legalHold: true } });
    await context.SubscriptionService.cancel(cancelled, false);
    const id = await on.started({
      planId,
      mode: "next_period",
      waveSize: 1,
      cohort: { tenantIds: [held, cancelled, elsewhere, deleted, kept] },
    });
    await on.tick();
    expect(await on.migrationOf(id)).toMatchObject({ waiting: 4 });
    const left = (await context.PlanMigrationService.listMoves(id, { status: "waiting" })).data.map(({ tenant }) => tenant);
    expect(left).toHaveLength(4);
    await context.TenantService.update(elsewhere, { plan: "Basic" });
    await context.TenantService.delete(deleted);
    const done = await on.finish(id);
    expect(done).toMatchObject({ status: "completed", waiting: 0, failed: 0 });
    expect(done.moved + done.skipped).toBe(5);
    const { data } = await context.PlanMigrationService.listMoves(id);
    const reasons = Object.fromEntries(data.map(({ tenant, status, reason }) => [tenant, reason ?? status]));
    expect(reasons).toMatchObject({ [held]: "legal_hold", [cancelled]: "cancelled", [kept]: "moved" });
    // The one that the first wave moved was there before it was moved elsewhere or deleted.
    expect([["moved", "no_subscription"], ["other_plan", "no_subscription"], ["other_plan", "moved"]])
      .toContainEqual([reasons[elsewhere], reasons[deleted]]);
    await context.TenantService.update(held, { metadata: { legalHold: null } });
    await context.PlanMigrationService.retry(id);
    expect(await on.finish(id)).toMatchObject({ status: "completed", waiting: 0, moved: done.moved + 1, skipped: done.skipped - 1 });
    expect(await versionOf(held)).toBe(2);
  });

  test("CP10: lists whom it could not move, and moves them when the cause is gone", async () => {
    const { id: planId, tenants } = await on.soldPlan(2);
    const target = await context.PlanService.create({ name: "Target", price: 1, currency: "USD", interval: "monthly", limits: {} });
    const id = await on.started({ planId, toPlanId: target.id, mode: "prorate" });
    await context.PlanService.update(target.id, { active: false });
    expect(await on.finish(id)).toMatchObject({ status: "completed", moved: 0, failed: 2 });
    const { data } = await context.PlanMigrationService.listMoves(id, { status: "failed" });
    expect(data).toMatchObject([{ reason: "plan_inactive", message: "Plan Target is deactivated. Choose another plan." }, {}]);
    await context.PlanService.update(target.id, { active: true });
    await context.PlanMigrationService.retry(id);
    expect(await on.finish(id)).toMatchObject({ status: "completed", moved: 2, failed: 0 });
    for (const tenant of tenants) expect(await on.subscriptionOf(tenant)).toMatchObject({ planId: target.id });
  });

  test("CP10: keeps its version if the plan gets a newer one meanwhile", async () => {
    const { id: planId, tenants: [tenant = ""] } = await on.soldPlan(1);
    const id = await on.started({ planId, mode: "next_period" });
    await context.PlanService.update(planId, { price: 90_000 });
    await on.finish(id);
    expect([await versionOf(tenant), (await context.TenantService.get(tenant))?.mrr]).toEqual([2, 600]);
  });

  test("CP10: is refused for a plan that does not exist, is deactivated or has no such version", async () => {
    const { id: planId } = await on.soldPlan(0);
    await context.PlanService.create({ name: "Closed", price: 1, currency: "USD", interval: "monthly", limits: {}, active: false });
    const refused = (data: Partial<PlanMigrationCreate>) =>
      codeOf(context.PlanMigrationService.create({ planId, mode: "prorate", ...data }));
    expect(await refused({ planId: "None" })).toBe("validation_failed");
    expect(await refused({ toPlanId: "None" })).toBe("validation_failed");
    expect(await refused({ toVersion: 3 })).toBe("validation_failed");
    expect(await refused({ toPlanId: "Closed" })).toBe("plan_inactive");
    // Its own subscribers can be moved to another version of a deactivated plan.
    await context.PlanService.update(planId, { active: false });
    expect(await context.PlanMigrationService.create({ planId, mode: "prorate" })).toMatchObject({
      toVersion: 2,
      waveSize: 100,
      cohort: {},
    });
  });
});
