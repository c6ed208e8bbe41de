import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { entitlementChanges } from "../../../shared/features/entitlements/changes.ts";
import { entitlements } from "../../../shared/features/entitlements/entity.ts";
import { subscription } from "../../../shared/features/subscriptions/entity.ts";
import { tenant } from "../../../shared/features/tenants/entity.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { ADMIN, openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const stored = async (id: string) => entitlements.schema.parse((await context.store.get(`entitlements:${id}`))?.value);
const of = async (id: string) => await context.EntitlementService.get(id);
/** The entitlements in each event of the tenant, oldest first. */
async function events(id: string) {
  const found = (await context.dump("outbox")).map(({ value }) => value as JsonObject).filter(({ tenantId }) => tenantId === id);
  return found.map(({ type, data }) => [type, (data as JsonObject)["entitlements"] as JsonObject | undefined] as const);
}

describe("entitlements", () => {
  it("B04: are written with a new tenant, from the plan it was sold", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    expect(await of(id)).toMatchObject({
      tenantId: id,
      revision: 1,
      active: true,
      planId: "Basic",
      planVersion: 1,
      features: ["booking-engine", "email-support", "front-desk", "housekeeping"].map((key) => ({ key, source: "plan" })),
    });
    expect((await of(id))?.limits).toContainEqual({ key: "rooms", limit: 60, source: "plan" });
    expect((await of(id))?.limits).toContainEqual({ key: "customDomains", limit: 0, source: "plan" });
    const [[type, carried] = []] = await events(id);
    expect(type).toBe("tenant.created");
    const { revision, active, features, limits } = await of(id) ?? {};
    expect(carried).toEqual({ revision, active, features, limits });
  });

  it("B04: follow each change of status and plan in its own commit, and other changes make no revision", async () => {
    const { id } = await context.tenant({ plan: "Basic", status: "pending" });
    const { TenantService, SubscriptionService } = context;
    const steps: readonly (readonly [() => Promise<unknown>, number, boolean, string])[] = [
      [() => TenantService.update(id, { status: "active" }), 2, true, "Basic"],
      [() => TenantService.update(id, { name: "Renamed" }), 2, true, "Basic"],
      [() => TenantService.update(id, { mrr: 5 }), 2, true, "Basic"],
      [() => SubscriptionService.upsert(id, { paymentMethod: "card" }), 2, true, "Basic"],
      [() => SubscriptionService.upsert(id, { status: "past_due" }), 2, true, "Basic"],
      [() => TenantService.suspend(id, "unpaid"), 3, false, "Basic"],
      [() => TenantService.suspend(id, "still unpaid"), 3, false, "Basic"],
      [() => TenantService.update(id, { plan: "Pro" }), 4, false, "Pro"],
      [() => TenantService.unsuspend(id), 5, true, "Pro"],
      [() => SubscriptionService.upsert(id, { planId: "Enterprise" }), 6, true, "Enterprise"],
      [() => SubscriptionService.cancel(id), 6, true, "Enterprise"],
      [() => SubscriptionService.cancel(id, false), 7, false, "Enterprise"],
      [() => SubscriptionService.reactivate(id), 8, true, "Enterprise"],
      [() => TenantService.cancel(id), 9, false, "Enterprise"],
      [() => TenantService.reactivate(id), 10, true, "Enterprise"],
    ];
    for (const [step, revision, active, planId] of steps) {
      const before = (await events(id)).length;
      const last = (await stored(id)).revision;
      context.clock.advance(1); // Ids of events are in the order of their milliseconds.
      await step();
      expect(await of(id), String(step)).toMatchObject({ revision, active, planId });
      const [, carried] = (await events(id))[before] ?? [];
      expect(carried?.["revision"], String(step)).toBe(revision > last ? revision : undefined);
    }
    expect((await of(id))?.features.map(({ key }) => key)).toContain("sso");
    expect((await of(id))?.limits).toContainEqual({ key: "rooms", limit: null, source: "plan" });
  });

  it("B03: a change of the plan's price or limits does not touch its subscribers", async () => {
    await context.PlanService.create({
      name: "Fix",
      price: 100,
      currency: "USD",
      interval: "monthly",
      limits: { rooms: 5 },
      features: ["a"],
    });
    const { id } = await context.tenant({ plan: "Fix" });
    await context.UsageService.increment(id, "rooms", 1);
    await context.PlanService.update("Fix", { price: 200, limits: { rooms: 9 }, features: ["b"] });
    expect(await of(id)).toMatchObject({ revision: 1, planVersion: 1, features: [{ key: "a" }], limits: [{ key: "rooms", limit: 5 }] });
    expect(await context.UsageService.get(id, "rooms")).toMatchObject({ limit: 5 });
    await context.TenantService.suspend(id, "x");
    await context.TenantService.unsuspend(id);
    expect(await of(id)).toMatchObject({ revision: 3, planVersion: 1, features: [{ key: "a" }] });
    const { id: later } = await context.tenant({ plan: "Fix" });
    expect(await of(later)).toMatchObject({ revision: 1, planVersion: 2, features: [{ key: "b" }], limits: [{ limit: 9 }] });
  });

  it("B04: of an import without the record are revision 0, from the version it was sold, until the first change writes them", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.GrantService.create(id, { kind: "limit", key: "rooms", value: 1 });
    const before = await of(id);
    await context.store.del(`entitlements:${id}`);
    const { limits, features } = before ?? {};
    expect(await of(id)).toMatchObject({ revision: 0, active: true, planVersion: 1, features, limits, version: null });
    expect(await context.EntitlementService.check(id, "rooms")).toMatchObject({ limit: 61, source: "grant", version: null });
    await context.TenantService.suspend(id, "x");
    expect(await of(id)).toMatchObject({ revision: 1, active: false, features, limits });
    await context.store.del(`entitlements:${id}`);
    await context.store.del(`subscription:${id}`);
    await context.GrantService.create(id, { kind: "limit", key: "rooms", value: 1 });
    expect(await of(id)).toMatchObject({ revision: 1, planId: "Basic", features });
    expect(await context.EntitlementService.check(id, "rooms")).toMatchObject({ limit: 62 });
    expect(await of("tn_none")).toBeNull();
  });

  it("B02: the function of jobs and migrations moves a subscriber to another version, with its usage limits", async () => {
    await context.PlanService.create({ name: "Move", price: 100, currency: "USD", interval: "monthly", limits: { rooms: 5, users: 1 } });
    const { id } = await context.tenant({ plan: "Move" });
    await context.UsageService.increment(id, "rooms", 1);
    await context.PlanService.update("Move", { limits: { rooms: 9, users: null } });
    const work = context.container.bind({ actor: ADMIN, tenantId: null, requestId: "req_x", clock: context.clock });
    const its = {
      tenant: tenant.schema.parse((await context.store.get(`tenant:${id}`))?.value),
      subscription: { ...subscription.schema.parse((await context.store.get(`subscription:${id}`))?.value), planVersion: 2 },
    };
    const { eventData } = await entitlementChanges(work, its);
    expect(eventData).toMatchObject({ entitlements: { revision: 2, limits: [{ key: "rooms", limit: 9 }] } });
    await work.transact(async () => {
      const { changes, mutations } = await entitlementChanges(work, its);
      return { commit: { changes, mutations, audit: "none", result: {} }, resultOf: id };
    });
    expect(await of(id)).toMatchObject({ revision: 2, planVersion: 2, limits: [{ key: "rooms", limit: 9 }] });
    expect(await context.UsageService.get(id, "rooms")).toMatchObject({ limit: 9 });
    expect(await entitlementChanges(work, its)).toEqual({ changes: [], mutations: [], eventData: {} });
  });

  it("B09: an owner's own plan change changes them too", async () => {
    const { id } = await context.tenant({ plan: "Pro" });
    const owner = context.as({ ...userOf(id), role: "owner" });
    expect(await owner.EntitlementService.get(id)).toMatchObject({ revision: 1, planId: "Pro" });
    await owner.SubscriptionService.upsert(id, { cancelAtPeriodEnd: true });
    expect(await owner.EntitlementService.check(id, "api")).toMatchObject({ kind: "feature", allowed: true, source: "plan" });
  });

  it("T11: are deleted with the tenant, and the grants too", async () => {
    const { id } = await context.tenant();
    await context.GrantService.create(id, { kind: "feature", key: "sso", value: true });
    await context.TenantService.delete(id);
    expect((await context.dump("entitlements")).filter(({ tenantId }) => tenantId === id)).toEqual([]);
    expect((await context.dump("grant")).filter(({ tenantId }) => tenantId === id)).toEqual([]);
    expect(await of(id)).toBeNull();
  });
});
