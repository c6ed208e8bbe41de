import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { subscription } from "../../../shared/features/subscriptions/entity.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const noLimits = { users: null, properties: null, rooms: null, bookings: null, api_calls: null, storage: null, customDomains: null };

describe("subscriptions", () => {
  it("B08: an upsert creates or updates, returns which it did, keeps id and createdAt, and is audited", async () => {
    const { id } = await context.tenant();
    const before = await context.SubscriptionService.get(id);
    context.clock.advance(1_000);
    const updated = await context.SubscriptionService.put(id, { paymentMethod: "card", lastPaymentStatus: "paid" });
    expect(updated).toMatchObject({
      created: false,
      record: { id: before?.id, createdAt: before?.createdAt, paymentMethod: "card", planId: "Pro" },
    });
    await context.store.del(`subscription:${id}`);
    const created = await context.SubscriptionService.put(id, { planId: "plan:Pro", status: "active" });
    expect(created).toMatchObject({ created: true, record: { tenantId: id, planId: "Pro" } });
    expect(created.record.id).toMatch(/^sub_\d{13}_[0-9a-z]{12}$/);
    expect((await context.auditOf(id)).map(({ action }) => action)).toEqual([
      "tenant.created",
      "subscription.updated",
      "subscription.created",
    ]);
    expect(await codeOf(context.SubscriptionService.upsert("tn_none", { status: "active" }))).toBe("not_found");
  });

  it("B07: 20 racing upserts leave one subscription, and every change is in the audit chain", async () => {
    const stores = await context.racers(20);
    const { id } = await context.tenant();
    await context.store.del(`subscription:${id}`);
    const codes = await Promise.all(
      stores.map((store, i) => codeOf(context.over(store).SubscriptionService.upsert(id, { metadata: { by: i } }))),
    );
    expect(codes.filter((code) => !code.startsWith("no error") && code !== "write_conflict")).toEqual([]);
    const entries = await context.auditOf(id);
    expect(entries.filter(({ action }) => action === "subscription.created")).toHaveLength(1);
    expect(entries.length - 1).toBe(codes.filter((code) => code.startsWith("no error")).length);
    expect((await context.dump("subscription")).filter(({ tenantId }) => tenantId === id)).toHaveLength(1);
  });

  it("B07: a plan change also changes the tenant's plan, mrr and limits of the period, and loses no count", async () => {
    const { id } = await context.tenant({ plan: "Basic", mrr: 12 });
    const counting = Array.from({ length: 50 }, () => context.UsageService.increment(id, "api_calls", 1));
    await Promise.all([...counting, context.SubscriptionService.upsert(id, { planId: "Enterprise" })]);
    expect(await context.TenantService.get(id)).toMatchObject({ plan: "Enterprise", mrr: 999, mrrSource: "plan" });
    for (const usage of await context.UsageService.getAll(id)) expect(usage.limit, usage.metric).toBeNull();
    expect((await context.UsageService.get(id, "api_calls"))?.current).toBe(50);
    await context.TenantService.update(id, { plan: "Basic" });
    expect(await context.SubscriptionService.get(id)).toMatchObject({ planId: "Basic" });
    expect(await context.UsageService.get(id, "rooms")).toMatchObject({ limit: 60 });
    expect((await context.auditOf(id)).map(({ action }) => action)).toEqual(["tenant.created", "subscription.updated", "tenant.updated"]);
  });

  it("B07: concurrent plan changes of the tenant and of the subscription end on one plan everywhere", async () => {
    for (let round = 0; round < 10; round++) {
      const { id } = await context.tenant();
      await Promise.all([
        context.SubscriptionService.upsert(id, { planId: "Enterprise" }),
        context.TenantService.update(id, { plan: "Basic" }),
      ]);
      const plan = (await context.TenantService.get(id))?.plan;
      expect((await context.SubscriptionService.get(id))?.planId, `round ${round}`).toBe(plan);
      expect((await context.UsageService.get(id, "users"))?.limit).toBe(plan === "Basic" ? 10 : null);
    }
  });

  it("B07: a period that ends before its start, an unknown plan and an inactive plan are refused", async () => {
    const { id } = await context.tenant();
    expect(
      await codeOf(
        context.SubscriptionService.upsert(id, {
          currentPeriodStart: "2026-04-01T00:00:00.000Z",
          currentPeriodEnd: "2026-04-01T00:00:00.000Z",
        }),
      ),
    )
      .toBe("validation_failed");
    expect(await codeOf(context.SubscriptionService.upsert(id, { planId: "Nope" }))).toBe("validation_failed");
    await context.PlanService.create({ name: "Retired", price: 1, currency: "USD", interval: "monthly", limits: noLimits, active: false });
    expect(await codeOf(context.SubscriptionService.upsert(id, { planId: "Retired" }))).toBe("plan_inactive");
    expect(await codeOf(context.SubscriptionService.upsert(id, { id: "sub_x" } as object))).toBe("validation_failed");
  });

  it("B09: a cancellation at period end keeps the status, one at once does not, and a reactivation reverses both", async () => {
    const { id } = await context.tenant();
    expect(await context.SubscriptionService.cancel(id)).toMatchObject({ status: "active", cancelAtPeriodEnd: true });
    expect(await context.SubscriptionService.reactivate(id)).toMatchObject({ status: "active", cancelAtPeriodEnd: false });
    expect(await context.SubscriptionService.cancel(id, false)).toMatchObject({
      status: "cancelled",
      cancelAtPeriodEnd: false,
      cancelledAt: context.clock.iso(),
    });
    context.clock.advance(60 * 86_400_000);
    const back = await context.SubscriptionService.reactivate(id);
    expect(back).toMatchObject({ status: "active", currentPeriodStart: context.clock.iso() });
    expect(back).not.toHaveProperty("cancelledAt");
    expect(await codeOf(context.SubscriptionService.cancel("tn_none"))).toBe("not_found");
  });

  it("B09: a subscription to a deactivated plan is cancelled and reactivated like any other", async () => {
    await context.PlanService.create({ name: "Fading", price: 1, currency: "USD", interval: "monthly", limits: noLimits });
    const { id } = await context.tenant({ plan: "Fading" });
    await context.PlanService.update("Fading", { active: false });
    expect(await context.SubscriptionService.cancel(id)).toMatchObject({ cancelAtPeriodEnd: true });
    expect(await context.SubscriptionService.cancel(id, false)).toMatchObject({ status: "cancelled" });
    expect(await context.SubscriptionService.reactivate(id)).toMatchObject({ status: "active", planId: "Fading" });
  });

  it("B09: a subscription to a plan that does not exist can be cancelled, and is reactivated when the plan is created", async () => {
    const { id } = await context.tenant();
    const entry = await context.store.get(`subscription:${id}`);
    await context.store.set(`subscription:${id}`, { ...entry?.value as object, planId: "Imported" });
    expect(await context.SubscriptionService.cancel(id)).toMatchObject({ cancelAtPeriodEnd: true });
    expect(await context.SubscriptionService.cancel(id, false)).toMatchObject({ status: "cancelled" });
    await expect(context.SubscriptionService.reactivate(id)).rejects.toMatchObject({
      code: "not_found",
      message: "Version 1 of plan Imported was not found. A platform admin must create the plan again.",
    });
    await context.PlanService.create({ name: "Imported", price: 1, currency: "USD", interval: "monthly", limits: noLimits, active: false });
    expect(await context.SubscriptionService.reactivate(id)).toMatchObject({ status: "active", planId: "Imported" });
  });

  it("B07: a tenant's own owner changes its own subscription and no other", async () => {
    const [own, other] = [await context.tenant(), await context.tenant()];
    const { SubscriptionService } = context.as(userOf(own.id));
    expect(await SubscriptionService.upsert(own.id, { paymentMethod: "card" })).toMatchObject({ paymentMethod: "card" });
    expect(await codeOf(SubscriptionService.upsert(own.id, { planId: "Enterprise" }))).toBe("plan_change_forbidden");
    expect(await codeOf(SubscriptionService.upsert(own.id, { status: "active" }))).toBe("forbidden");
    expect(await codeOf(SubscriptionService.cancel(own.id, false))).toBe("forbidden");
    expect(await SubscriptionService.cancel(own.id)).toMatchObject({ cancelAtPeriodEnd: true, status: "active" });
    expect((await context.TenantService.get(own.id))?.plan).toBe("Pro");
    expect(await SubscriptionService.get(other.id)).toBeNull();
    expect(await codeOf(SubscriptionService.upsert(other.id, { planId: "Basic" }))).toBe("not_found");
    expect((await context.SubscriptionService.get(other.id))?.planId).toBe("Pro");
  });
});

describe("plans", () => {
  it("B01: an amount is a whole number of the minor unit", async () => {
    const plan = { name: "Float", currency: "USD", interval: "monthly", limits: noLimits } as const;
    for (const price of [1.5, -1, Number.NaN, 2 ** 53]) {
      expect(await codeOf(context.PlanService.create({ ...plan, price })), String(price)).toBe("validation_failed");
    }
    expect(await codeOf(context.PlanService.create({ ...plan, price: 1, currency: "usd" }))).toBe("validation_failed");
    expect(await context.PlanService.create({ ...plan, price: 0 })).toMatchObject({
      id: "Float",
      displayName: "Float",
      price: 0,
      active: true,
    });
    expect(await codeOf(context.PlanService.create({ ...plan, price: 0 }))).toBe("already_exists");
  });

  it("B01: the four plans are seeded once, and the platform's changes stay", async () => {
    await context.PlanService.update("Basic", { displayName: "Starter" });
    expect(await context.PlanService.seedDefaults()).toEqual([]);
    const { data } = await context.PlanService.list({ active: true }, "price");
    expect(data.map(({ id }) => id).filter((id) => id !== "Float")).toEqual(["Trial", "Basic", "Pro", "Enterprise"]);
    expect((await context.PlanService.get("plan:Basic"))?.displayName).toBe("Starter");
  });

  it("B01: limits are changed one by one; null removes one, and what is not limited is unlimited", async () => {
    await context.PlanService.create({
      name: "Limits",
      price: 1,
      currency: "USD",
      interval: "monthly",
      limits: { ...noLimits, users: 5, rooms: 7 },
    });
    const limits = (await context.PlanService.update("Limits", { limits: { users: null, rooms: 8 } }))?.limits;
    expect(limits).toMatchObject({ rooms: 8 });
    expect(limits).not.toHaveProperty("users");
  });

  it("B28: a plan in use is not deleted, only deactivated; an unused one is, with one audit entry", async () => {
    await context.PlanService.create({ name: "Busy", price: 1, currency: "USD", interval: "monthly", limits: noLimits });
    const { id } = await context.tenant({ plan: "Busy" });
    expect(await codeOf(context.PlanService.delete("Busy"))).toBe("plan_in_use");
    expect((await context.PlanService.get("Busy"))?.active).toBe(true);
    await context.TenantService.update(id, { plan: "Pro" });
    await context.SubscriptionService.upsert(id, { planId: "Pro" });
    expect(await context.PlanService.delete("plan:Busy")).toBe(true);
    expect(await context.PlanService.get("Busy")).toBeNull();
    expect(await context.PlanService.delete("Busy")).toBe(false);
    expect((await context.auditOf(null)).filter(({ resourceId }) => resourceId === "Busy").map(({ action }) => action)).toEqual([
      "plan.created",
      "plan.deleted",
    ]);
  });

  it("B28: a plan that gets a subscriber between the check for uses and the deletion is restored unchanged", async () => {
    const before = await context.PlanService.create({ name: "Late", price: 1, currency: "USD", interval: "monthly", limits: noLimits });
    let late: Promise<unknown> | undefined;
    const store = new Proxy(context.store, {
      get: (real, name: keyof Store) => {
        if (name !== "commit") return typeof real[name] === "function" ? real[name].bind(real) : real[name];
        return async (...commit: Parameters<Store["commit"]>) => {
          await (late ??= context.tenant({ plan: "Late" }));
          return await real.commit(...commit);
        };
      },
    });
    expect(await codeOf(context.over(store).PlanService.delete("Late", { ifMatch: [before.version] }))).toBe("plan_in_use");
    expect(await context.PlanService.get("Late")).toEqual(before);
    expect((await context.tenant({ plan: "Late" })).plan).toBe("Late");
    expect((await context.auditOf(null)).filter(({ resourceId }) => resourceId === "Late").map(({ action }) => action)).toEqual([
      "plan.created",
    ]);
  });

  it("B28: a tenant that is created while its plan is deleted never has a missing plan", async () => {
    const stores = await context.racers(8);
    for (let round = 0; round < 15; round++) {
      const plan = `Racing${round}`;
      const made = await context.PlanService.create({ name: plan, price: 1, currency: "USD", interval: "monthly", limits: noLimits });
      const makers = stores.map((store, i) =>
        codeOf(
          context.over(store).TenantService.create({
            name: "R",
            subdomain: `racing-${round}-${i}`,
            plan,
            owner: "r@racing.example",
            ownerName: "R",
          }),
        )
      );
      const outcomes = await Promise.all([codeOf(context.PlanService.delete(plan)), ...makers]);
      const users = (await context.TenantService.list({ plan })).pagination.total;
      const subscriptions = await context.store.count({ entity: subscription, where: [{ field: "planId", in: [plan] }] });
      const left = await context.PlanService.get(plan);
      const note = `round ${round}: ${outcomes.join()}`;
      expect(outcomes.slice(1).filter((code) => code.startsWith("no error")).length, note).toBe(users);
      expect(subscriptions, note).toBe(users);
      expect(left?.active, note).toBe(outcomes[0] === "plan_in_use" ? true : undefined);
      // Its version would differ had it been deleted and made again.
      if (left) expect(left.version, note).toBe(made.version);
      else expect(users, note).toBe(0);
    }
  });
});
