import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createBackend, loadServices, type Services } from "../../../shared/container.ts";
import type { SelfServicePlans } from "../../../shared/core/platform.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { codeOf } from "../../support/store.ts";
import { ADMIN, openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
let servicesOf: Awaited<ReturnType<typeof loadServices>>;
beforeAll(async () => {
  context = await openTestContext();
  servicesOf = await loadServices();
});
afterAll(() => context.close());

const DAY = 86_400_000;
const limits = { users: 1, properties: 1, rooms: 1, bookings: 1, api_calls: 1, storage: 1, customDomains: 1 };

/** The services of a platform with other settings, for its admin or for a tenant's owner. */
function on(platform: { currency?: string }, ownerOf?: string): Services {
  const backend = createBackend({ store: context.store, clock: context.clock, logger: silentLogger, ...platform });
  const caller = ownerOf === undefined ? { actor: ADMIN, tenantId: null } : { ...userOf(ownerOf), role: "owner" };
  return servicesOf(backend.bind({ actor: ADMIN, tenantId: null, requestId: "req_test", clock: context.clock, ...caller }));
}

/** The services of a tenant's owner where the settings allow these plan changes. */
async function ownerWhere(selfServicePlans: SelfServicePlans, tenantId: string): Promise<Services> {
  await context.PlatformSettingsService.update({ selfServicePlans });
  return on({}, tenantId);
}

/** The services of another process, in which `happens` runs between a decision and its first commit. */
function meanwhile(happens: () => Promise<unknown>): Services {
  let happened: Promise<unknown> | undefined;
  return context.over(
    new Proxy(context.store, {
      get: (real, name: keyof Store) => {
        if (name !== "commit") return typeof real[name] === "function" ? real[name].bind(real) : real[name];
        return async (...commit: Parameters<Store["commit"]>) => {
          await (happened ??= happens());
          return await real.commit(...commit);
        };
      },
    }),
  );
}

const tenantOf = async (id: string) => {
  const tenant = await context.TenantService.get(id);
  if (!tenant) throw new Error("the tenant is gone");
  return tenant;
};
const subscriptionOf = async (id: string) => {
  const subscription = await context.SubscriptionService.get(id);
  if (!subscription) throw new Error("the subscription is gone");
  return subscription;
};
const limitOf = async (id: string) => (await context.UsageService.get(id, "rooms"))?.limit;

/** Expects that the call is refused, and changes nothing of the tenant, its subscription, its limits and its audit chain. */
async function refused(id: string, code: string, call: () => Promise<unknown>): Promise<void> {
  const before = [await tenantOf(id), await context.SubscriptionService.get(id), await limitOf(id), (await context.auditOf(id)).length];
  expect(await codeOf(call)).toBe(code);
  expect([await tenantOf(id), await context.SubscriptionService.get(id), await limitOf(id), (await context.auditOf(id)).length])
    .toEqual(before);
}

describe("a plan changes only on a live subscription", () => {
  it("B07: a cancelled one keeps its plan, through the subscription or the tenant, whoever calls and with any status", async () => {
    const { id } = await context.tenant();
    await context.SubscriptionService.cancel(id, false);
    const owner = (await ownerWhere("any", id)).SubscriptionService;
    for (const planId of ["Basic", "Enterprise"]) {
      await refused(id, "subscription_cancelled", () => context.SubscriptionService.upsert(id, { planId }));
      await refused(id, "subscription_cancelled", () => context.SubscriptionService.upsert(id, { planId, status: "active" }));
      await refused(id, "subscription_cancelled", () => context.TenantService.update(id, { plan: planId }));
      await refused(id, "subscription_cancelled", () => context.TenantService.update(id, { plan: planId, mrr: 1 }));
      await refused(id, "subscription_cancelled", () => owner.upsert(id, { planId }));
    }
    await context.SubscriptionService.reactivate(id);
    expect(await context.SubscriptionService.upsert(id, { planId: "Basic" })).toMatchObject({ planId: "Basic", status: "active" });
  });

  it("B07: a cancelled tenant keeps its plan, with a subscription or without one", async () => {
    const [cancelled, bare] = [await context.tenant(), await context.tenant({ status: "cancelled" })];
    await context.TenantService.cancel(cancelled.id);
    await context.store.del(`subscription:${bare.id}`);
    for (const { id } of [cancelled, bare]) {
      await refused(id, "tenant_cancelled", () => context.TenantService.update(id, { plan: "Basic" }));
      await refused(id, "tenant_cancelled", () => context.SubscriptionService.upsert(id, { planId: "Basic" }));
      await refused(id, "tenant_cancelled", () => context.SubscriptionService.upsert(id, { planId: "Basic", status: "cancelled" }));
      expect((await context.TenantService.update(id, { plan: "Pro", name: "Renamed" }))?.name).toBe("Renamed");
    }
  });

  it("B07: creating a subscription as cancelled does not change the plan either", async () => {
    const { id } = await context.tenant();
    await context.store.del(`subscription:${id}`);
    await refused(id, "subscription_cancelled", () => context.SubscriptionService.upsert(id, { planId: "Basic", status: "cancelled" }));
  });

  it("B07: the current plan can be sent again for a cancelled one, and if the plan is deactivated", async () => {
    await context.PlanService.create({ name: "Leaving", price: 1, currency: "USD", interval: "monthly", limits });
    const { id } = await context.tenant({ plan: "Leaving", mrr: 77 });
    await context.PlanService.update("Leaving", { active: false });
    expect(await context.SubscriptionService.upsert(id, { planId: "plan:Leaving", paymentMethod: "wire" })).toMatchObject({
      paymentMethod: "wire",
    });
    await context.SubscriptionService.cancel(id, false);
    expect(await context.SubscriptionService.upsert(id, { planId: "Leaving", paymentMethod: "card" })).toMatchObject({
      status: "cancelled",
    });
    expect(await tenantOf(id)).toMatchObject({ plan: "Leaving", mrr: 77, mrrSource: "explicit" });
  });
});

describe("a plan change", () => {
  it("U02: moves the limits of usage that is recorded for later months, and no earlier ones", async () => {
    const { id } = await context.tenant();
    const [before, now, later] = [-1, 0, 1].map((months) => {
      const day = new Date(context.clock.now());
      return new Date(Date.UTC(day.getUTCFullYear(), day.getUTCMonth() + months)).toISOString().slice(0, 7);
    });
    for (const period of [before, now, later]) await context.UsageService.record(id, "rooms", 5, undefined, period);
    const limits = () =>
      Promise.all([before, now, later].map(async (period) => (await context.UsageService.get(id, "rooms", period))?.limit));
    expect(await limits()).toEqual([500, 500, 500]);
    await context.SubscriptionService.upsert(id, { planId: "Basic" });
    expect(await limits()).toEqual([500, 60, 60]);
    await context.TenantService.update(id, { plan: "Pro" });
    expect(await limits()).toEqual([500, 500, 500]);
  });

  it("T10: or a count, of a tenant that is deleted before the commit is not_found, as after the deletion", async () => {
    const writes: ((services: Services, id: string) => Promise<unknown>)[] = [
      ({ SubscriptionService }, id) => SubscriptionService.upsert(id, { planId: "Basic" }),
      ({ TenantService }, id) => TenantService.update(id, { plan: "Basic" }),
      ({ TenantService }, id) => TenantService.update(id, { name: "Late" }, { idempotencyKey: "late" }),
      ({ UsageService }, id) => UsageService.increment(id, "rooms", 1, undefined, "2026-04"),
      ({ UsageService }, id) => UsageService.consume(id, "rooms", 1_000, undefined, { idempotencyKey: "late" }),
    ];
    for (const [i, write] of writes.entries()) {
      const { id } = await context.tenant();
      expect(await codeOf(write(meanwhile(() => context.TenantService.delete(id)), id)), `write ${i}`).toBe("not_found");
    }
  });
});

describe("no subscription is live under a cancelled tenant", () => {
  it("B07: none is made active, trialing or past due, reactivated or created", async () => {
    const { id } = await context.tenant();
    await context.TenantService.cancel(id);
    for (const status of ["active", "trialing", "past_due"] as const) {
      await refused(id, "tenant_cancelled", () => context.SubscriptionService.upsert(id, { status }));
    }
    await refused(id, "tenant_cancelled", () => context.SubscriptionService.reactivate(id));
    expect(await context.SubscriptionService.upsert(id, { metadata: { note: "kept" } })).toMatchObject({ status: "cancelled" });
    await context.store.del(`subscription:${id}`);
    await refused(id, "tenant_cancelled", () => context.SubscriptionService.upsert(id, { status: "active" }));
    expect(await context.SubscriptionService.upsert(id, {})).toMatchObject({ status: "cancelled", cancelledAt: context.clock.iso() });
  });

  it("B07: a reactivation of the tenant reactivates it, whoever cancelled it, and starts a new period if its period is over", async () => {
    const { id } = await context.tenant();
    await context.SubscriptionService.cancel(id, false);
    await context.TenantService.cancel(id);
    context.clock.advance(40 * DAY);
    await context.TenantService.reactivate(id);
    expect(await subscriptionOf(id)).toMatchObject({ status: "active", planId: "Pro", currentPeriodStart: context.clock.iso() });
  });

  it("B07: one reactivated while its tenant is being cancelled is cancelled with it", async () => {
    const { id } = await context.tenant();
    await context.SubscriptionService.cancel(id, false);
    await meanwhile(() => context.SubscriptionService.reactivate(id)).TenantService.cancel(id);
    expect([(await tenantOf(id)).status, (await subscriptionOf(id)).status]).toEqual(["cancelled", "cancelled"]);
    const other = await context.tenant();
    await context.SubscriptionService.cancel(other.id, false);
    const late = meanwhile(() => context.TenantService.cancel(other.id)).SubscriptionService.reactivate(other.id);
    expect(await codeOf(late)).toBe("tenant_cancelled");
  });

  it("B07: one created while its tenant moves to another plan is on that plan", async () => {
    const { id } = await context.tenant();
    await context.store.del(`subscription:${id}`);
    await meanwhile(() => context.SubscriptionService.upsert(id, {})).TenantService.update(id, { plan: "Basic" });
    expect([(await tenantOf(id)).plan, (await subscriptionOf(id)).planId, await limitOf(id)]).toEqual(["Basic", "Basic", 60]);
  });

  it("B07: a concurrent plan change and cancellation end as if one came after the other", async () => {
    for (let round = 0; round < 10; round++) {
      const { id } = await context.tenant();
      const [change, end] = [context.SubscriptionService.upsert(id, { planId: "Basic" }), context.SubscriptionService.cancel(id, false)];
      const code = await codeOf(change);
      await end;
      const plan = code === "subscription_cancelled" ? "Pro" : "Basic";
      expect(code === "subscription_cancelled" || code.startsWith("no error"), `round ${round}: ${code}`).toBe(true);
      expect([(await subscriptionOf(id)).status, (await subscriptionOf(id)).planId]).toEqual(["cancelled", plan]);
      expect([(await tenantOf(id)).plan, await limitOf(id)]).toEqual([plan, plan === "Pro" ? 500 : 60]);
    }
  });
});

describe("a trial", () => {
  it("B10: is given once, by creation, by a pending tenant's start or by a move to its plan", async () => {
    const onTrial = await context.tenant({ plan: "Trial", status: "trial" });
    const pending = await context.tenant({ plan: "Trial", status: "pending" });
    const moved = await context.tenant({ plan: "Basic" });
    await context.TenantService.update(pending.id, { status: "trial" });
    await context.TenantService.update(moved.id, { plan: "Trial" });
    for (const { id } of [onTrial, pending, moved]) {
      expect((await tenantOf(id)).trialEndsAt).toBe(context.clock.iso(14 * DAY));
      await context.TenantService.update(id, { plan: "Pro" });
      await refused(id, "trial_used", () => context.TenantService.update(id, { plan: "Trial" }));
      await refused(id, "trial_used", () => context.SubscriptionService.upsert(id, { planId: "plan:Trial" }));
      await context.store.del(`subscription:${id}`);
      await refused(id, "trial_used", () => context.SubscriptionService.upsert(id, { planId: "Trial" }));
      await refused(id, "trial_used", () => context.TenantService.update(id, { plan: "Trial" }));
    }
    await context.TenantService.update(moved.id, { trialEndsAt: null });
    expect((await context.TenantService.update(moved.id, { plan: "Trial" }))?.plan).toBe("Trial");
  });

  it("B10: of a pending tenant ends as its plan or the call sets, and so does its subscription's period", async () => {
    const [one, two] = [await context.tenant({ status: "pending" }), await context.tenant({ status: "pending" })];
    context.clock.advance(DAY);
    await context.TenantService.update(one.id, { status: "trial" });
    await context.TenantService.update(two.id, { status: "trial", trialEndsAt: context.clock.iso(DAY) });
    for (const [{ id }, days] of [[one, 14], [two, 1]] as const) {
      expect(await tenantOf(id)).toMatchObject({ status: "trial", trialEndsAt: context.clock.iso(days * DAY) });
      expect(await subscriptionOf(id)).toMatchObject({ status: "trialing", currentPeriodEnd: context.clock.iso(days * DAY) });
    }
  });

  it("B10: continues if its subscription is cancelled and reactivated", async () => {
    const { id } = await context.tenant({ status: "trial" });
    await context.SubscriptionService.cancel(id, false);
    expect(await context.SubscriptionService.reactivate(id)).toMatchObject({ status: "trialing" });
  });
});

describe("a tenant's own owner", () => {
  it("R11: can move to no plan, to a cheaper one or to any one, as the platform is configured", async () => {
    const { id } = await context.tenant();
    const move = (selfServicePlans: SelfServicePlans, planId: string) => async () =>
      await (await ownerWhere(selfServicePlans, id)).SubscriptionService.upsert(id, { planId });
    await refused(id, "plan_change_forbidden", move("none", "Basic"));
    await refused(id, "plan_change_forbidden", move("downgrade", "Enterprise"));
    for (const allowed of ["downgrade", "any"] as const) await refused(id, "plan_change_forbidden", move(allowed, "Trial"));
    expect(await move("downgrade", "Basic")()).toMatchObject({ planId: "Basic" });
    expect(await tenantOf(id)).toMatchObject({ plan: "Basic", mrr: 99 });
    await refused(id, "plan_change_forbidden", move("downgrade", "Pro"));
    expect(await move("any", "Enterprise")()).toMatchObject({ planId: "Enterprise" });
    expect(await limitOf(id)).toBeNull();
  });

  it("R11: can move from a plan that does not exist only if any plan is allowed", async () => {
    const { id } = await context.tenant();
    const entry = await context.store.get(`subscription:${id}`);
    await context.store.set(`subscription:${id}`, { ...entry?.value as object, planId: "Imported" });
    const move = (selfServicePlans: SelfServicePlans) => async () =>
      await (await ownerWhere(selfServicePlans, id)).SubscriptionService.upsert(id, { planId: "Basic" });
    for (const allowed of ["none", "downgrade"] as const) await refused(id, "plan_change_forbidden", move(allowed));
    expect(await move("any")()).toMatchObject({ planId: "Basic" });
  });

  it("R11: cannot get a more expensive plan by creating a missing subscription", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.store.del(`subscription:${id}`);
    const owner = (await ownerWhere("none", id)).SubscriptionService;
    await refused(id, "plan_change_forbidden", () => owner.upsert(id, { planId: "Enterprise" }));
    expect(await owner.upsert(id, {})).toMatchObject({ planId: "Basic" });
  });

  it("B09: can cancel at period end and reverse that in every setting, and reactivate a cancelled subscription only if any plan is allowed", async () => {
    const { id } = await context.tenant();
    for (const selfServicePlans of ["none", "downgrade", "any"] as const) {
      const { SubscriptionService } = await ownerWhere(selfServicePlans, id);
      expect(await SubscriptionService.cancel(id)).toMatchObject({ status: "active", cancelAtPeriodEnd: true });
      expect(await SubscriptionService.reactivate(id)).toMatchObject({ status: "active", cancelAtPeriodEnd: false });
      expect(await SubscriptionService.upsert(id, { cancelAtPeriodEnd: true })).toMatchObject({ cancelAtPeriodEnd: true });
      await refused(id, "forbidden", () => SubscriptionService.cancel(id, false));
      await context.SubscriptionService.cancel(id, false);
      if (selfServicePlans !== "any") await refused(id, "plan_change_forbidden", () => SubscriptionService.reactivate(id));
      else expect(await SubscriptionService.reactivate(id)).toMatchObject({ status: "active" });
      await context.SubscriptionService.reactivate(id);
    }
  });

  it("B10: cannot start a second trial by reactivating one that is over, even if any plan is allowed", async () => {
    const { id } = await context.tenant({ plan: "Trial", status: "trial" });
    await context.SubscriptionService.cancel(id, false);
    const owner = (await ownerWhere("any", id)).SubscriptionService;
    expect(await owner.reactivate(id)).toMatchObject({ status: "trialing" });
    await context.SubscriptionService.cancel(id, false);
    context.clock.advance(15 * DAY);
    await refused(id, "plan_change_forbidden", () => owner.reactivate(id));
  });

  it("R11: cannot set revenue, plan or status of the tenant, nor period, status or payment of the subscription", async () => {
    const { id } = await context.tenant();
    const owner = await ownerWhere("any", id);
    for (const patch of [{ plan: "Basic" }, { mrr: 0 }, { status: "active" }, { trialEndsAt: context.clock.iso(DAY) }] as const) {
      await refused(id, "forbidden", () => owner.TenantService.update(id, patch));
    }
    const at = context.clock.iso(DAY);
    for (
      const put of [{ status: "active" }, { currentPeriodEnd: at }, { currentPeriodStart: at }, { lastPaymentStatus: "paid" }] as const
    ) await refused(id, "forbidden", () => owner.SubscriptionService.upsert(id, put));
  });
});

describe("currencies are never mixed", () => {
  it("B01: a plan in another currency than the platform's takes no subscribers, and none can be created or changed to one", async () => {
    const euros = on({ currency: "EUR" });
    await euros.PlanService.create({ name: "Euro", price: 9_900, currency: "EUR", interval: "monthly", limits });
    const { id } = await context.tenant();
    const hotel = { name: "H", subdomain: "in-euros", owner: "o@h.example", ownerName: "O", plan: "Euro" };
    await refused(id, "validation_failed", () => context.TenantService.update(id, { plan: "Euro" }));
    await refused(id, "validation_failed", () => context.SubscriptionService.upsert(id, { planId: "Euro" }));
    await refused(id, "validation_failed", () => context.TenantService.create(hotel));
    await refused(id, "validation_failed", () => context.PlanService.update("Pro", { currency: "EUR" }));
    await refused(id, "validation_failed", () => euros.TenantService.update(id, { plan: "Basic" }));
    const other = { name: "Other", price: 1, currency: "EUR", interval: "monthly", limits } as const;
    await refused(id, "validation_failed", () => context.PlanService.create(other));
    expect(await euros.TenantService.create(hotel)).toMatchObject({ plan: "Euro", mrr: 99 });
  });

  it("B17: revenue has the decimals of its currency, and a price that does not fit it is refused", async () => {
    const yen = on({ currency: "JPY" });
    const plan = { currency: "JPY", limits } as const;
    await yen.PlanService.create({ ...plan, name: "Yen", price: 9_900, interval: "monthly" });
    await yen.PlanService.create({ ...plan, name: "YenYearly", price: 9_990, interval: "yearly" });
    const { id } = await yen.TenantService.create({ name: "H", subdomain: "in-yen", owner: "o@h.example", ownerName: "O", plan: "Yen" });
    expect(await tenantOf(id)).toMatchObject({ mrr: 9_900 });
    await yen.SubscriptionService.upsert(id, { planId: "YenYearly" });
    expect(await tenantOf(id)).toMatchObject({ mrr: 833 });
    const dear = { ...plan, name: "Dear", price: 1e13, interval: "monthly" } as const;
    expect(await codeOf(yen.PlanService.create(dear))).toBe("validation_failed");
    expect(await codeOf(yen.PlanService.update("Yen", { price: 1e13 }))).toBe("validation_failed");
  });

  it("B01: an explicit revenue has no more decimals than the platform's currency", async () => {
    const yen = on({ currency: "JPY" });
    const refusal = { code: "validation_failed", fields: [{ path: "/mrr", message: "must be a whole number in JPY", code: "invalid" }] };
    const inn = { name: "Inn", subdomain: "yen-revenue", owner: "o@h.example", ownerName: "O", plan: "Yen" };
    await expect(yen.TenantService.create({ ...inn, mrr: 1.25 })).rejects.toMatchObject(refusal);
    const { id } = await yen.TenantService.create({ ...inn, mrr: 1_250 });
    await expect(yen.TenantService.update(id, { mrr: 1.25 })).rejects.toMatchObject(refusal);
    expect(await tenantOf(id)).toMatchObject({ mrr: 1_250, mrrSource: "explicit" });
    expect(await context.TenantService.update(id, { mrr: 1.25 })).toMatchObject({ mrr: 1.25 });
    // What was stored under another currency stays readable and may be changed elsewhere.
    expect(await yen.TenantService.update(id, { name: "Inn of yen" })).toMatchObject({ name: "Inn of yen", mrr: 1.25 });
  });
});

describe("an explicit revenue", () => {
  it("B17: stays until the plan changes without one, by the tenant or by the subscription", async () => {
    const { id } = await context.tenant({ mrr: 5 });
    await context.SubscriptionService.upsert(id, { planId: "Pro", paymentMethod: "card" });
    await context.SubscriptionService.cancel(id);
    await context.SubscriptionService.reactivate(id);
    await context.TenantService.suspend(id, "unpaid");
    await context.TenantService.unsuspend(id);
    expect(await tenantOf(id)).toMatchObject({ mrr: 5, mrrSource: "explicit" });
    await context.TenantService.update(id, { plan: "Basic", mrr: 0 });
    expect(await tenantOf(id)).toMatchObject({ mrr: 0, mrrSource: "explicit" });
    await context.SubscriptionService.upsert(id, { planId: "Pro" });
    expect(await tenantOf(id)).toMatchObject({ mrr: 299, mrrSource: "plan" });
    expect(await context.TenantService.update(id, { mrr: 299 })).toMatchObject({ mrr: 299, mrrSource: "explicit" });
  });
});
