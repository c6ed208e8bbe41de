import { describe, expect, test } from "vitest";
import { SELF_SERVICE_PLANS } from "../../../shared/core/platform.ts";
import { type Plan, plan as planEntity } from "../../../shared/features/plans/entity.ts";
import { type Subscription, subscription as entity, SUBSCRIPTION_STATUSES } from "../../../shared/features/subscriptions/entity.ts";
import * as rules from "../../../shared/features/subscriptions/rules.ts";
import { type Tenant, tenant as tenantEntity, TENANT_STATUSES } from "../../../shared/features/tenants/entity.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";

const now = "2026-01-15T00:00:00.000Z";
const later = "2026-03-31T10:00:00.000Z";
const trialEndsAt = "2026-01-20T00:00:00.000Z";
const is = (status: Subscription["status"], more: Partial<Subscription> = {}): Subscription =>
  ({ ...entity.schema.parse(entity.example), status, ...more }) as Subscription;
const hotel = (more: Partial<Tenant> = {}): Tenant => ({ ...tenantEntity.schema.parse(tenantEntity.example), ...more }) as Tenant;
const priced = (price: number, more: Partial<Plan> = {}): Plan =>
  ({ ...planEntity.schema.parse(planEntity.example), price, ...more }) as Plan;
const TRIAL = priced(0, { id: "Trial", trialDays: 14 });

/** The code a rule throws, or "passes". */
function outcome(rule: () => void): string {
  try {
    rule();
  } catch (error) {
    if (error instanceof InnkeepError) return error.code;
    throw error;
  }
  return "passes";
}

describe("a subscription follows its tenant", () => {
  for (const from of TENANT_STATUSES) {
    for (const to of TENANT_STATUSES) {
      test.each(SUBSCRIPTION_STATUSES)(`T07: from ${from} to ${to}, when it is %s`, (status) => {
        const before = is(status);
        const after = rules.followed(before, from, hotel({ status: to, trialEndsAt }), now);
        const expected = to === "cancelled"
          ? "cancelled"
          : to === "active" && status === "trialing"
          ? "active"
          : from === "pending" && to === "trial" && status === "active"
          ? "trialing"
          : status;
        expect(after.status).toBe(expected);
        if (expected === status) expect(after).toBe(before);
      });
    }
  }

  test("T07: a pending tenant's trial is its subscription's period, unless its end has passed", () => {
    const onTrial = rules.followed(is("active"), "pending", hotel({ status: "trial", trialEndsAt }), now);
    expect(onTrial).toEqual(is("trialing", { currentPeriodStart: now, currentPeriodEnd: trialEndsAt }));
    for (const end of [now, undefined]) {
      const tenant = hotel({ status: "trial", ...(end ? { trialEndsAt: end } : {}) });
      expect(rules.followed(is("active"), "pending", tenant, now)).toEqual(is("trialing"));
    }
  });

  test("T07: a pending tenant's first paid period begins with its activation, once", () => {
    const pending = is("active", { anchorDay: undefined, invoicedUntil: undefined });
    const active = rules.followed(pending, "pending", hotel(), later, { interval: "monthly" });
    expect(active).toMatchObject({ currentPeriodStart: later, currentPeriodEnd: "2026-04-30T10:00:00.000Z", anchorDay: 31 });
    expect(rules.followed(is("active"), "pending", hotel(), later, { interval: "monthly" })).toEqual(is("active"));
  });

  test("T07: a cancellation replaces one that was due at period end, and does not change a cancelled one", () => {
    const once = rules.ended(is("active", { cancelAtPeriodEnd: true }), now);
    expect(once).toMatchObject({ status: "cancelled", cancelAtPeriodEnd: false, cancelledAt: now });
    expect(rules.ended(once, later)).toBe(once);
  });

  test("T07: a reactivated one keeps its period while it lasts, and begins a new one when it is over", () => {
    const cancelled = rules.ended(is("active"), now);
    expect(rules.resumed(cancelled, hotel(), "2026-01-31T23:59:59.999Z", { interval: "monthly" })).toEqual(is("active"));
    const started = rules.resumed(cancelled, hotel(), "2026-02-01T00:00:00.000Z", { interval: "monthly" });
    expect(started.currentPeriodStart).toBe("2026-02-01T00:00:00.000Z");
    expect(rules.resumed(cancelled, hotel(), later, { interval: "monthly" })).toEqual(
      is("active", { currentPeriodStart: later, currentPeriodEnd: "2026-04-30T10:00:00.000Z", anchorDay: 31, invoicedUntil: later }),
    );
    expect(rules.resumed(cancelled, hotel(), later, { interval: "yearly" }).currentPeriodEnd).toBe("2027-03-31T10:00:00.000Z");
    expect(rules.resumed(is("past_due", { cancelAtPeriodEnd: true }), hotel(), later, { interval: "monthly" })).toEqual(is("past_due"));
  });

  test("B10: a cancellation reversed within a trial continues the trial, also during a suspension, and after it there is no free time", () => {
    const cancelled = rules.ended(is("trialing"), now);
    const onTrial = [hotel({ status: "trial" }), hotel({ status: "suspended", suspendedFrom: "trial" })];
    const others = [hotel(), hotel({ status: "suspended", suspendedFrom: "active" }), hotel({ status: "active", suspendedFrom: "trial" })];
    for (const tenant of onTrial) expect(rules.resumed(cancelled, tenant, now, { interval: "monthly" })).toEqual(is("trialing"));
    for (const tenant of others) expect(rules.resumed(cancelled, tenant, now, { interval: "monthly" })).toEqual(is("active"));
    for (const tenant of onTrial) expect(rules.resumed(cancelled, tenant, later, { interval: "monthly" }).status).toBe("active");
  });
});

describe("a new subscription", () => {
  const month = { currentPeriodStart: now, currentPeriodEnd: "2026-02-15T00:00:00.000Z", anchorDay: 15 };
  const { anchorDay: _, ...trialMonth } = month;
  const trial = { currentPeriodStart: now, currentPeriodEnd: trialEndsAt };
  test.each<[string, Partial<Tenant>, object]>([
    ["pending", { status: "pending" }, { status: "active", ...trialMonth }],
    ["active", { status: "active" }, { status: "active", ...month }],
    ["active after a trial", { status: "active", trialEndsAt }, { status: "active", ...month }],
    ["on trial", { status: "trial", trialEndsAt }, { status: "trialing", ...trial }],
    ["on a trial without an end", { status: "trial" }, { status: "trialing", ...trialMonth }],
    ["on a trial whose end has passed", { status: "trial", trialEndsAt: now }, { status: "trialing", ...trialMonth }],
    ["suspended", { status: "suspended", suspendedFrom: "active", trialEndsAt }, { status: "active", ...month }],
    ["suspended from its trial", { status: "suspended", suspendedFrom: "trial", trialEndsAt }, { status: "trialing", ...trial }],
    ["cancelled", { status: "cancelled" }, { status: "cancelled", cancelledAt: now, ...month }],
  ])("T21: has the status and period that fit a tenant that is %s", (_, tenant, expected) => {
    expect(rules.started(hotel(tenant), { interval: "monthly" }, now)).toEqual(expected);
  });

  test("B06: of a yearly plan runs a year", () => {
    expect(rules.started(hotel(), { interval: "yearly" }, now).currentPeriodEnd).toBe("2027-01-15T00:00:00.000Z");
  });
});

const settings = { trialDurationDays: 14 };

describe("a trial", () => {
  test("B10: ends after the plan's trialDays, else after as many days as the settings say", () => {
    expect(rules.trialEnd({ trialDays: 30 }, settings, now)).toBe("2026-02-14T00:00:00.000Z");
    expect(rules.trialEnd({ trialDays: 1 }, settings, now)).toBe("2026-01-16T00:00:00.000Z");
    for (const trialDays of [0, undefined]) expect(rules.trialEnd({ trialDays }, settings, now)).toBe("2026-01-29T00:00:00.000Z");
  });

  test("B10: is given once: a trial plan takes no tenant that had a trial, and every other plan does", () => {
    const had = hotel({ trialEndsAt });
    const never = hotel();
    const paidWithTrial = priced(1, { trialDays: 14 });
    const free = [priced(0), priced(0, { trialDays: 0 })];
    expect(outcome(() => rules.assertTrialUnused(had, TRIAL))).toBe("trial_used");
    expect(outcome(() => rules.assertTrialUnused(never, TRIAL))).toBe("passes");
    for (const plan of [paidWithTrial, ...free]) expect(outcome(() => rules.assertTrialUnused(had, plan))).toBe("passes");
  });

  test("B10: ends with its tenant's, and only while it lasts", () => {
    const trialing = is("trialing", { currentPeriodStart: now, currentPeriodEnd: trialEndsAt });
    expect(rules.withTrialEnd(trialing, hotel({ trialEndsAt: later }))).toEqual({ ...trialing, currentPeriodEnd: later });
    for (const end of [now, undefined]) expect(rules.withTrialEnd(trialing, hotel({ trialEndsAt: end }))).toBe(trialing);
    const active = is("active");
    expect(rules.withTrialEnd(active, hotel({ trialEndsAt: later }))).toBe(active);
  });

  test("B10: begins with the move to its plan, and no other move begins one", () => {
    expect(rules.onPlan(hotel(), TRIAL, settings, now)).toEqual({
      plan: "Trial",
      mrr: 0,
      mrrSource: "plan",
      trialEndsAt: "2026-01-29T00:00:00.000Z",
    });
    expect(rules.onPlan(hotel({ trialEndsAt }), TRIAL, settings, now)).toEqual({ plan: "Trial", mrr: 0, mrrSource: "plan" });
    const expected = { plan: "Pro", mrr: 299, mrrSource: "plan" };
    expect(rules.onPlan(hotel(), priced(29_900, { trialDays: 14 }), settings, now)).toEqual(expected);
    expect(rules.onPlan(hotel(), priced(0), settings, now)).toEqual({ ...expected, mrr: 0 });
  });
});

describe("what a tenant's own users may do", () => {
  const yearly = (price: number) => priced(price, { interval: "yearly" });
  const pairs: readonly (readonly [string, Plan, Plan, boolean])[] = [
    ["cheaper", priced(29_900), priced(9_900), true],
    ["one cent cheaper", priced(29_900), priced(29_899), true],
    ["dearer", priced(9_900), priced(29_900), false],
    ["as dear", priced(9_900), priced(9_900), false],
    ["free", priced(9_900), priced(0), true],
    ["yearly and cheaper by the month, though the year costs more", priced(9_900), yearly(99_900), true],
    ["monthly and dearer by the month, though it costs less than the year", yearly(99_900), priced(9_900), false],
    ["a twelfth of the year's price", yearly(118_800), priced(9_900), false],
  ];
  for (const [what, from, to, isCheaper] of pairs) {
    test.each(SELF_SERVICE_PLANS)(`R11: a move to a plan that is ${what}, as the platform allows: %s`, (allowed) => {
      const may = allowed === "any" || (allowed === "downgrade" && isCheaper);
      expect(outcome(() => rules.assertSelfService(allowed, from, to))).toBe(may ? "passes" : "plan_change_forbidden");
    });
  }

  test.each(SELF_SERVICE_PLANS)("B10: no move to a trial plan, whatever the platform allows: %s", (allowed) => {
    expect(outcome(() => rules.assertSelfService(allowed, priced(9_900), TRIAL))).toBe("plan_change_forbidden");
  });

  test("B09: a cancellation at the end of the period, never at once", () => {
    expect(outcome(() => rules.assertOwnCancellation(false))).toBe("passes");
    expect(outcome(() => rules.assertOwnCancellation(true))).toBe("forbidden");
  });

  for (const status of SUBSCRIPTION_STATUSES) {
    test.each(SELF_SERVICE_PLANS)(`B09: a reactivation of a subscription that is ${status}, if the platform allows: %s`, (allowed) => {
      const may = status !== "cancelled" || allowed === "any";
      expect(outcome(() => rules.assertOwnReactivation(is(status), priced(9_900), allowed, later))).toBe(
        may ? "passes" : "plan_change_forbidden",
      );
    });
  }

  test.each(SELF_SERVICE_PLANS)(
    "B10: a reactivation within a trial, but not after it, if the platform allows: %s",
    (allowed) => {
      const ended = is("cancelled", { currentPeriodEnd: trialEndsAt });
      const at = (instant: string) => outcome(() => rules.assertOwnReactivation(ended, TRIAL, allowed, instant));
      expect(at(now)).toBe(allowed === "any" ? "passes" : "plan_change_forbidden");
      for (const instant of [trialEndsAt, later]) expect(at(instant)).toBe("plan_change_forbidden");
    },
  );

  test.each<[string, () => void, string]>([
    [
      "to change the plan at all",
      () => rules.assertSelfService("none", priced(2), priced(1)),
      "You cannot change the plan yourself. Ask the platform's support.",
    ],
    [
      "to move to a trial plan if no plan change is allowed",
      () => rules.assertSelfService("none", priced(1), TRIAL),
      "You cannot change the plan yourself. Ask the platform's support.",
    ],
    [
      "to move to a more expensive plan",
      () => rules.assertSelfService("downgrade", priced(1), priced(2)),
      "You can only move to a cheaper plan yourself. Ask the platform's support for this one.",
    ],
    [
      "to move to a trial plan if any plan is allowed",
      () => rules.assertSelfService("any", priced(1), TRIAL),
      "You cannot move to the trial plan Trial yourself. Ask the platform's support.",
    ],
    [
      "to cancel at once",
      () => rules.assertOwnCancellation(true),
      "You can only cancel at the end of the period. Send cancelAtPeriodEnd as true.",
    ],
    [
      "to reactivate a cancelled subscription",
      () => rules.assertOwnReactivation(is("cancelled"), priced(1), "none", now),
      "Your subscription has ended. Ask the platform's support to start it again.",
    ],
  ])("H01: no right %s, and the refusal says what to do", (_what, rule, text) => {
    expect(rule).toThrowError(expect.objectContaining({ message: text }));
  });
});

const charge = { description: "Pro", quantity: 1, unitAmount: 100, amount: 100, kind: "proration" as const };

describe("whether a change is allowed", () => {
  test.each(SUBSCRIPTION_STATUSES)("B07: of the plan, for a subscription that is %s", (status) => {
    expect(outcome(() => rules.assertLive(is(status)))).toBe(status === "cancelled" ? "subscription_cancelled" : "passes");
  });

  for (const tenant of TENANT_STATUSES) {
    test(`B07: of the plan, for a tenant that is ${tenant}`, () => {
      expect(outcome(() => rules.assertTenantCanChangePlan(hotel({ status: tenant })))).toBe(
        tenant === "cancelled" ? "tenant_cancelled" : "passes",
      );
    });
    test.each(SUBSCRIPTION_STATUSES)(`B07: of a subscription to %s, for a tenant that is ${tenant}`, (status) => {
      const refused = tenant === "cancelled" && status !== "cancelled";
      expect(outcome(() => rules.assertTenantNotCancelled(is(status), hotel({ status: tenant })))).toBe(
        refused ? "tenant_cancelled" : "passes",
      );
    });
  }

  const gone = hotel({ id: "tn_1", status: "cancelled" });
  test.each<[string, () => void, string]>([
    [
      "a cancelled subscription",
      () => rules.assertLive(is("cancelled")),
      "The subscription is cancelled. Reactivate it before you change its plan.",
    ],
    [
      "a cancelled tenant, where its plan is changed",
      () => rules.assertTenantCanChangePlan(gone),
      "Tenant tn_1 is cancelled. Reactivate the tenant before you change its plan.",
    ],
    [
      "a cancelled tenant, where its subscription is to live",
      () => rules.assertTenantNotCancelled(is("active"), gone),
      "Tenant tn_1 is cancelled. Reactivate the tenant, which also reactivates its subscription.",
    ],
    [
      "a trial that was had",
      () => rules.assertTrialUnused(hotel({ id: "tn_1", trialEndsAt }), TRIAL),
      "Tenant tn_1 has used its trial. Choose a plan other than Trial.",
    ],
  ])("H01: the refusal says what to do about %s", (_what, rule, text) => {
    expect(rule).toThrowError(expect.objectContaining({ message: text }));
  });

  test("B07: a period that does not end after its start is refused", () => {
    const until = (currentPeriodEnd: string) =>
      outcome(() => rules.assertPeriod(is("active", { currentPeriodStart: now, currentPeriodEnd })));
    expect(until(now)).toBe("validation_failed");
    expect(until("2026-01-14T23:59:59.999Z")).toBe("validation_failed");
    expect(until("2026-01-15T00:00:00.001Z")).toBe("passes");
    expect(() => rules.assertPeriod(is("active", { currentPeriodStart: now, currentPeriodEnd: now }))).toThrowError(
      expect.objectContaining({
        fields: [{ path: "/currentPeriodEnd", message: "must be after currentPeriodStart", code: "invalid" }],
      }),
    );
  });

  test("B07: a status that is set explicitly sets or removes cancelledAt and cancelAtPeriodEnd accordingly", () => {
    expect(rules.fitted(is("cancelled", { cancelAtPeriodEnd: true }), now)).toMatchObject({ cancelAtPeriodEnd: false, cancelledAt: now });
    expect(rules.fitted(is("cancelled", { cancelledAt: "2026-01-02T00:00:00.000Z" }), now).cancelledAt).toBe(
      "2026-01-02T00:00:00.000Z",
    );
    const due = is("past_due", { cancelAtPeriodEnd: true });
    expect(rules.fitted({ ...due, cancelledAt: now } as Subscription, now)).toEqual({ ...due, nextBillingAt: due.currentPeriodEnd });
  });

  test.each<[string, Partial<Subscription>, string | undefined]>([
    ["the start of a period without an invoice", { invoicedUntil: undefined }, "2026-01-01T00:00:00.000Z"],
    ["the end of a period with an invoice", { invoicedUntil: "2026-02-01T00:00:00.000Z" }, "2026-02-01T00:00:00.000Z"],
    ["the start of a period after the one with an invoice", { invoicedUntil: "2026-01-01T00:00:00.000Z" }, "2026-01-01T00:00:00.000Z"],
    ["the end of a trial that was activated", { anchorDay: undefined, invoicedUntil: undefined }, "2026-02-01T00:00:00.000Z"],
    ["the end of a trial", { status: "trialing", invoicedUntil: undefined }, "2026-02-01T00:00:00.000Z"],
    ["absent after a cancellation", { status: "cancelled" }, undefined],
    ["at once after a cancellation with charges that have no invoice", { status: "cancelled", pendingItems: [charge] }, now],
    ["absent after a cancellation with credits that are as much", {
      status: "cancelled",
      pendingItems: [charge, { ...charge, amount: -100 }],
    }, undefined],
    ["the due date of an unpaid invoice", {
      unpaidInvoices: [{ invoiceId: "inv_1", dueDate: later, step: "issued" }],
      currentPeriodEnd: "2026-06-01T00:00:00.000Z",
      invoicedUntil: "2026-06-01T00:00:00.000Z",
    }, later],
  ])("T09: the next billing is %s", (_, fields, expected) => {
    expect(rules.fitted(is("active", fields), now).nextBillingAt).toBe(expected);
  });
});
