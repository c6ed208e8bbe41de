import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TENANT_STATUSES } from "../../../shared/features/tenants/entity.ts";
import type { TenantStatus } from "../../../shared/features/tenants/entity.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import type { StoredSubscription } from "../../../shared/features/subscriptions/service.ts";
import type { StoredTenant, TenantUpdate } from "../../../shared/features/tenants/service.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

/** The state machine, written by hand and not read from the code. */
const ALLOWED: Readonly<Record<TenantStatus, readonly TenantStatus[]>> = {
  pending: ["trial", "active"],
  trial: ["active", "suspended", "cancelled"],
  active: ["suspended", "cancelled"],
  suspended: ["active", "cancelled"],
  cancelled: [],
};

async function tenantThatIs(status: TenantStatus): Promise<StoredTenant> {
  return await context.tenant({ status, ...(status === "suspended" ? { suspensionReason: "unpaid" } : {}) });
}

function present(tenant: StoredTenant | null): StoredTenant {
  if (!tenant) throw new Error("the tenant is gone");
  return tenant;
}

async function subscriptionOf(id: string): Promise<StoredSubscription> {
  const found = await context.SubscriptionService.get(id);
  if (!found) throw new Error("the subscription is gone");
  return found;
}

describe("the state machine of a tenant", () => {
  for (const from of TENANT_STATUSES) {
    for (const to of TENANT_STATUSES.filter((status) => status !== from)) {
      const legal = ALLOWED[from].includes(to);
      it(`T07: ${from} → ${to} by PATCH is ${legal ? "done" : "refused with the allowed list"}`, async () => {
        const before = await tenantThatIs(from);
        const move = context.TenantService.update(before.id, { status: to, ...(to === "suspended" ? { suspensionReason: "unpaid" } : {}) });
        if (legal) {
          expect((await move)?.status).toBe(to);
          return;
        }
        const error = await move.then(() => null, (thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(InnkeepError);
        expect(error).toMatchObject({ code: "invalid_transition", status: 409, details: { from, to, allowed: [...ALLOWED[from]] } });
        expect(await context.TenantService.get(before.id)).toEqual(before);
      });
    }
    it(`T07: ${from} → ${from} changes nothing and writes nothing`, async () => {
      const before = await tenantThatIs(from);
      expect(await context.TenantService.update(before.id, { status: from })).toEqual(before);
      expect(await context.auditOf(before.id)).toHaveLength(1);
    });
  }

  it("T07: a reason replaces that of a suspension, and is refused without one", async () => {
    const suspended = await tenantThatIs("suspended");
    const update = (tenant: StoredTenant, change: TenantUpdate) => context.TenantService.update(tenant.id, change);
    expect(await update(suspended, { suspensionReason: "fraud" })).toMatchObject({ status: "suspended", suspensionReason: "fraud" });
    expect(await update(suspended, { status: "suspended", suspensionReason: "both" })).toMatchObject({
      suspensionReason: "both",
      suspendedAt: suspended.suspendedAt,
    });
    expect((await context.auditOf(suspended.id)).at(-1)).toMatchObject({
      changes: { before: { suspensionReason: "fraud" }, after: { suspensionReason: "both" } },
    });
    const active = await tenantThatIs("active");
    const stray = { code: "validation_failed", fields: [{ path: "/suspensionReason" }] };
    for (
      const change of [{ suspensionReason: "x" }, { suspensionReason: "x", name: "Y" }, {
        suspensionReason: "x",
        status: "cancelled" as const,
      }]
    ) {
      await expect(update(active, change)).rejects.toMatchObject(stray);
    }
    await expect(update(suspended, { status: "active", suspensionReason: "paid" })).rejects.toMatchObject(stray);
    await expect(context.tenant({ status: "active", suspensionReason: "x" })).rejects.toMatchObject(stray);
    expect(await context.TenantService.get(active.id)).toEqual(active);
  });

  it.each(["trial", "active"] as const)("T07: unsuspend restores the status of a %s tenant", async (status) => {
    const { id } = await tenantThatIs(status);
    const suspended = present(await context.TenantService.suspend(id, "chargeback"));
    expect(suspended).toMatchObject({ status: "suspended", suspensionReason: "chargeback", suspendedAt: context.clock.iso() });
    expect(await context.TenantService.suspend(id, "chargeback")).toEqual(suspended);
    expect(await context.TenantService.suspend(id, "fraud")).toMatchObject({
      ...suspended,
      suspensionReason: "fraud",
      version: expect.any(String),
    });
    context.clock.advance(60_000);
    const back = present(await context.TenantService.unsuspend(id));
    expect(back).toMatchObject({ status, unsuspendedAt: context.clock.iso() });
    expect(back).not.toHaveProperty("suspensionReason");
    expect(back).not.toHaveProperty("suspendedFrom");
    expect(await context.TenantService.unsuspend(id)).toEqual(back);
    expect((await context.auditOf(id)).map(({ action }) => action)).toEqual([
      "tenant.created",
      "tenant.suspended",
      "tenant.suspended",
      "tenant.unsuspended",
    ]);
  });

  it("T07: suspending needs a reason, by call and by PATCH", async () => {
    const { id } = await tenantThatIs("active");
    for (const reason of ["", "   "]) expect(await codeOf(context.TenantService.suspend(id, reason))).toBe("validation_failed");
    expect(await codeOf(context.TenantService.update(id, { status: "suspended" }))).toBe("validation_failed");
    expect((await context.TenantService.get(id))?.status).toBe("active");
  });

  it("T07: cancelled is left only by reactivate", async () => {
    const { id } = await tenantThatIs("active");
    expect(await context.TenantService.cancel(id)).toMatchObject({ status: "cancelled", cancelledAt: context.clock.iso() });
    expect(await codeOf(context.TenantService.update(id, { status: "active" }))).toBe("invalid_transition");
    expect(await codeOf(context.TenantService.suspend(id, "x"))).toBe("invalid_transition");
    const back = present(await context.TenantService.reactivate(id));
    expect(back.status).toBe("active");
    expect(back).not.toHaveProperty("cancelledAt");
  });

  it.each(["pending", "trial", "suspended"] as const)(
    "T07: a tenant that is %s cannot be reactivated, and stays as it is",
    async (status) => {
      const before = await tenantThatIs(status);
      await expect(context.TenantService.reactivate(before.id)).rejects.toMatchObject({
        code: "invalid_transition",
        message: `You can reactivate only a cancelled tenant, and this one is ${status}.` +
          (status === "suspended" ? " Unsuspend it instead." : ""),
        details: { from: status, to: "active", allowed: [...ALLOWED[status]] },
      });
      expect(await context.TenantService.get(before.id)).toEqual(before);
      expect(await context.auditOf(before.id)).toHaveLength(1);
    },
  );

  it("T07: reactivating an active tenant changes nothing and writes nothing", async () => {
    const before = await tenantThatIs("active");
    expect(await context.TenantService.reactivate(before.id)).toEqual(before);
    expect(await context.auditOf(before.id)).toHaveLength(1);
  });

  it("T07: a trial that becomes active takes its subscription along, in one commit and one audit entry", async () => {
    const { id } = await tenantThatIs("trial");
    const before = await subscriptionOf(id);
    expect(before.status).toBe("trialing");
    const events = (await context.dump("outbox")).length;
    await context.TenantService.update(id, { status: "active" });
    const { version: _v, updatedAt: _u, status, ...rest } = await subscriptionOf(id);
    expect(status).toBe("active");
    expect(before).toMatchObject(rest);
    expect((await context.auditOf(id)).slice(1)).toMatchObject([{
      action: "tenant.updated",
      data: { subscription: { before: { status: "trialing" }, after: { status: "active" } } },
    }]);
    expect((await context.dump("outbox")).length - events).toBe(1);
  });

  it("T07: a suspension and its lifting leave the subscription as it is", async () => {
    for (const status of ["trial", "active"] as const) {
      const { id } = await tenantThatIs(status);
      const before = await subscriptionOf(id);
      await context.TenantService.suspend(id, "unpaid");
      await context.TenantService.unsuspend(id);
      expect(await subscriptionOf(id)).toEqual(before);
    }
  });

  it("T07: a subscription is cancelled and reactivated with its tenant, and keeps its period while that lasts", async () => {
    for (const status of ["trial", "active", "suspended"] as const) {
      const { id } = await tenantThatIs(status);
      await context.SubscriptionService.cancel(id);
      const { currentPeriodStart, currentPeriodEnd } = await subscriptionOf(id);
      await context.TenantService.cancel(id);
      expect(await subscriptionOf(id)).toMatchObject({ status: "cancelled", cancelledAt: context.clock.iso(), cancelAtPeriodEnd: false });
      context.clock.advance(60_000);
      await context.TenantService.reactivate(id);
      const back = await subscriptionOf(id);
      expect(back).toMatchObject({ status: "active", cancelAtPeriodEnd: false, currentPeriodStart, currentPeriodEnd });
      expect(back).not.toHaveProperty("cancelledAt");
      expect((await context.auditOf(id)).slice(2)).toMatchObject([
        { action: "tenant.cancelled", data: { subscription: { after: { status: "cancelled" } } } },
        { action: "tenant.reactivated", data: { subscription: { before: { status: "cancelled" }, after: { status: "active" } } } },
      ]);
    }
  });

  it("T07: a tenant that is reactivated after its period begins a new one, also on a deactivated plan", async () => {
    const limits = { users: 1, properties: 1, rooms: 1, bookings: 1, api_calls: 1, storage: 1, customDomains: 1 };
    await context.PlanService.create({ name: "Yearly", price: 1, currency: "USD", interval: "yearly", limits });
    const { id } = await context.tenant({ plan: "Yearly" });
    await context.TenantService.cancel(id);
    await context.PlanService.update("Yearly", { active: false });
    context.clock.advance(400 * 86_400_000);
    await context.TenantService.reactivate(id);
    const now = context.clock.iso();
    expect(await subscriptionOf(id)).toMatchObject({
      status: "active",
      currentPeriodStart: now,
      currentPeriodEnd: `${Number(now.slice(0, 4)) + 1}${now.slice(4)}`,
    });
  });

  it("T07: a tenant without a subscription changes its status too, and a subscription cancelled by itself stays cancelled", async () => {
    const { id } = await tenantThatIs("trial");
    await context.store.del(`subscription:${id}`);
    expect((await context.TenantService.update(id, { status: "active" }))?.status).toBe("active");
    const other = await tenantThatIs("trial");
    await context.SubscriptionService.cancel(other.id, false);
    const cancelled = await subscriptionOf(other.id);
    context.clock.advance(1_000);
    await context.TenantService.update(other.id, { status: "active" });
    await context.TenantService.cancel(other.id);
    expect(await subscriptionOf(other.id)).toEqual(cancelled);
  });

  it("T07: a status change of a tenant that does not exist returns null", async () => {
    for (
      const move of [
        context.TenantService.suspend("tn_no", "x"),
        context.TenantService.cancel("tn_no"),
        context.TenantService.reactivate("tn_no"),
      ]
    ) {
      expect(await move).toBeNull();
    }
  });

  it("T07: of two concurrent opposite changes, one is decided on the result of the other", async () => {
    const { id } = await tenantThatIs("active");
    const outcomes = await Promise.all([codeOf(context.TenantService.suspend(id, "x")), codeOf(context.TenantService.cancel(id))]);
    // suspended → cancelled is legal, cancelled → suspended is not.
    const { status } = present(await context.TenantService.get(id));
    expect(status).toBe("cancelled");
    expect(outcomes.filter((outcome) => outcome === "invalid_transition").length).toBeLessThanOrEqual(1);
    const entries = await context.auditOf(id);
    expect(entries.at(-1)?.["action"]).toBe("tenant.cancelled");
  });
});
