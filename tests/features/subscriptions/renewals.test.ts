import { describe, expect, test } from "vitest";
import { addInterval, type Interval } from "../../../shared/core/periods.ts";
import { invoice as invoiceEntity, type LineItem } from "../../../shared/features/invoices/entity.ts";
import { type PlanVersion, planVersion } from "../../../shared/features/plans/entity.ts";
import { dunned, isOverdue, nextDunning, owing, settled } from "../../../shared/features/subscriptions/dunning.ts";
import { type Subscription, subscription as entity, type UnpaidInvoice } from "../../../shared/features/subscriptions/entity.ts";
import { nextStep, periodLines } from "../../../shared/features/subscriptions/renewals.ts";
import { fitted } from "../../../shared/features/subscriptions/rules.ts";
import { type Tenant, tenant as tenantEntity } from "../../../shared/features/tenants/entity.ts";

const START = "2026-01-01T00:00:00.000Z";
const END = "2026-02-01T00:00:00.000Z";
const LATE = "2027-01-01T00:00:00.000Z";
const sub = (more: Partial<Subscription> = {}): Subscription =>
  fitted({ ...entity.schema.parse(entity.example), ...more } as Subscription, START);
const hotel = (more: Partial<Tenant> = {}): Tenant => ({ ...tenantEntity.schema.parse(tenantEntity.example), ...more }) as Tenant;
const terms = (more: Partial<PlanVersion> = {}): PlanVersion =>
  ({ ...planVersion.schema.parse(planVersion.example), ...more }) as PlanVersion;
const item = (amount: number): LineItem => ({ description: "x", quantity: 1, unitAmount: amount, amount, kind: "proration" });
const unpaid = (step: UnpaidInvoice["step"], dueDate = "2026-01-15T00:00:00.000Z", invoiceId = "inv_1"): UnpaidInvoice => ({
  invoiceId,
  dueDate,
  step,
});
/** Trial, free and paid, that ends with the period. */
const TRIALING = { status: "trialing", anchorDay: undefined, invoicedUntil: undefined } as const;
const FREE_TRIAL = terms({ planId: "Trial", price: 0, trialDays: 14 });

describe("the next step of a subscription", () => {
  test.each<[string, Partial<Subscription>, Partial<Tenant>, PlanVersion | null, string, object]>([
    ["renews it at the end of its period", {}, {}, terms(), END, { actions: ["subscription.renewed"], at: END }],
    ["issues the invoice that its period does not have", { invoicedUntil: undefined }, {}, terms(), START, { actions: [], at: START }],
    ["ends the trial of a paid plan", TRIALING, { status: "trial" }, terms(), END, {
      actions: ["subscription.trial_ended", "tenant.updated"],
      tenant: { status: "active" },
      subscription: { status: "active", anchorDay: 1, currentPeriodStart: END },
    }],
    [
      "ends the trial of a tenant that was activated before",
      { anchorDay: undefined, invoicedUntil: undefined },
      { trialEndsAt: END },
      terms(),
      END,
      {
        actions: ["subscription.trial_ended"],
        subscription: { status: "active", anchorDay: 1 },
      },
    ],
    ["cancels a free trial and suspends its tenant", TRIALING, { status: "trial" }, FREE_TRIAL, END, {
      actions: ["subscription.trial_ended", "subscription.cancelled", "tenant.suspended"],
      tenant: { status: "suspended", suspensionReason: "The trial ended", suspendedAt: END, suspendedFrom: "active" },
      subscription: { status: "cancelled", cancelledAt: END },
      lines: [],
    }],
    ["cancels a trial that is not to be continued", { ...TRIALING, cancelAtPeriodEnd: true }, { status: "trial" }, null, END, {
      actions: ["subscription.trial_ended", "subscription.cancelled", "tenant.suspended"],
    }],
    [
      "leaves the suspension of a tenant whose trial ends, but not the trial",
      TRIALING,
      { status: "suspended", suspendedFrom: "trial", suspendedAt: START },
      terms(),
      END,
      {
        actions: ["subscription.trial_ended", "tenant.updated"],
        tenant: { status: "suspended", suspendedFrom: "active" },
        lines: [],
      },
    ],
    ["cancels at the end of the period", { cancelAtPeriodEnd: true }, {}, null, END, {
      actions: ["subscription.cancelled", "tenant.updated"],
      subscription: { status: "cancelled", cancelledAt: END, cancelAtPeriodEnd: false },
      tenant: { status: "active", mrr: 0 },
    }],
    [
      "invoices the charges that are left",
      { status: "cancelled", cancelledAt: END, pendingItems: [item(500), item(-200)] },
      {},
      null,
      END,
      {
        actions: [],
        lines: [{ amount: 500 }, { amount: -200 }],
        subscription: { pendingItems: [] },
      },
    ],
    ["has no invoice while the tenant is suspended", {}, { status: "suspended", suspendedAt: END }, terms(), END, {
      actions: ["subscription.renewed"],
      lines: [],
    }],
    ["has an invoice if the tenant was suspended after the start", {}, { status: "suspended", suspendedAt: LATE }, terms(), END, {
      lines: [{ amount: 29900 }],
    }],
    ["has no invoice if the period is free", {}, {}, terms({ price: 0 }), END, { lines: [] }],
    [
      "has no invoice and no anchor while the tenant is pending",
      { anchorDay: undefined, invoicedUntil: undefined },
      { status: "pending" },
      terms(),
      END,
      {
        actions: ["subscription.renewed"],
        lines: [],
        subscription: { anchorDay: undefined },
      },
    ],
    ["stays past due when it is renewed", { status: "past_due" }, {}, terms(), END, { subscription: { status: "past_due" } }],
    [
      "is dunning before billing at the same instant",
      { unpaidInvoices: [unpaid("reminded", "2026-01-18T00:00:00.000Z")] },
      {},
      terms(),
      END,
      {
        actions: ["tenant.suspended"],
        at: END,
      },
    ],
  ])("B25: %s", (_, fields, owner, sold, until, expected) => {
    expect(nextStep({ subscription: sub(fields), tenant: hotel(owner) }, sold, until)).toMatchObject(expected);
  });

  test.each([
    ["a period that ends a millisecond later", sub(), "2026-01-31T23:59:59.999Z"],
    ["a cancelled subscription", sub({ status: "cancelled" }), LATE],
    ["a cancelled one with credits only", sub({ status: "cancelled", cancelledAt: END, pendingItems: [item(-500)] }), LATE],
  ])("B25: is none for %s", (_, subscription, until) => {
    expect(nextStep({ subscription, tenant: hotel() }, terms(), until)).toBeNull();
  });

  test.each<[Interval, number, number, string, string[]]>([
    ["monthly", 1, 31, "2026-01-31", ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]],
    ["monthly", 1, 31, "2028-01-31", ["2028-02-29", "2028-03-31"]],
    ["monthly", 3, 30, "2025-11-30", ["2026-02-28", "2026-05-30", "2026-08-30"]],
    ["yearly", 1, 29, "2028-02-29", ["2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]],
    ["weekly", 2, 31, "2026-01-31", ["2026-02-14", "2026-02-28", "2026-03-14"]],
    ["daily", 30, 31, "2026-01-31", ["2026-03-02", "2026-04-01"]],
  ])("B06: %s × %i, with the anchor %i: from %s on %j", (interval, intervalCount, anchorDay, start, ends) => {
    const sold = terms({ interval, intervalCount });
    const first = `${start}T10:00:00.000Z`;
    let subscription = sub({
      anchorDay,
      currentPeriodStart: first,
      currentPeriodEnd: addInterval(first, sold, anchorDay),
      invoicedUntil: LATE,
    });
    const seen: string[] = [];
    while (seen.length < ends.length) {
      seen.push(subscription.currentPeriodEnd.slice(0, 10));
      const billed = { ...subscription, invoicedUntil: subscription.currentPeriodEnd };
      const step = nextStep({ subscription: fitted(billed, first), tenant: hotel() }, sold, "2099-01-01T00:00:00.000Z");
      subscription = fitted(step?.subscription ?? subscription, first);
    }
    expect(seen).toEqual(ends);
  });
});

describe("the invoice of a period", () => {
  test.each<[string, number, number[], number[], number[]]>([
    ["has the charge alone", 29900, [], [29900], []],
    ["has the charges and credits of plan changes", 29900, [-100, 250], [29900, -100, 250], []],
    ["is 0 in all if the credits are as much", 100, [-100], [100, -100], []],
    ["uses of a credit what it can, and keeps the rest", 100, [-250], [100, -100], [-150]],
    ["uses the oldest credits first", 100, [-60, -60, -60], [100, -60, -40], [-20, -60]],
    ["has no lines if it is free, and keeps credits", 0, [-50], [], [-50]],
    ["has pending charges of a free period", 0, [70, -20], [70, -20], []],
    ["leaves a charge to the next one that would exceed the highest total", 1e14, [5, -7], [1e14, -7], [5]],
  ])("B25: %s", (_, price, pending, lines, rest) => {
    const found = periodLines(sub({ pendingItems: pending.map(item) }), { planId: "Pro", price, currency: "USD" });
    expect([found.lines, found.rest].map((items) => items.map(({ amount }) => amount))).toEqual([lines, rest]);
    for (const { quantity, unitAmount, amount } of [...found.lines, ...found.rest]) expect(quantity * unitAmount).toBe(amount);
  });

  test("B25: names the plan and the period", () => {
    expect(periodLines(sub(), { planId: "Pro", price: 1, currency: "USD" }).lines).toEqual([
      {
        description: "Pro, 2026-01-01 to 2026-02-01",
        quantity: 1,
        unitAmount: 1,
        amount: 1,
        kind: "plan",
        periodStart: START,
        periodEnd: END,
      },
    ]);
  });
});

describe("dunning", () => {
  test.each<[UnpaidInvoice["step"], object | null]>([
    ["issued", { step: "past_due", at: "2026-01-15T00:00:00.000Z" }],
    ["past_due", { step: "reminded", at: "2026-01-22T00:00:00.000Z" }],
    ["reminded", { step: "suspended", at: "2026-01-29T00:00:00.000Z" }],
    ["suspended", null],
  ])("B21: the next step of an unpaid invoice that is %s is %j", (step, expected) => {
    const next = nextDunning({ unpaidInvoices: [unpaid(step)] });
    if (expected === null) expect(next).toBeNull();
    else expect(next).toMatchObject(expected);
  });

  test("B21: takes the earliest step of all unpaid invoices", () => {
    const unpaidInvoices = [unpaid("reminded", "2026-01-15T00:00:00.000Z", "a"), unpaid("issued", "2026-01-20T00:00:00.000Z", "b")];
    expect(nextDunning({ unpaidInvoices })).toMatchObject({ invoiceId: "b", at: "2026-01-20T00:00:00.000Z" });
  });

  test.each<[string, UnpaidInvoice["step"], Partial<Subscription>, Partial<Tenant>, object, object]>([
    ["an active one past due", "issued", {}, {}, { status: "past_due", lastPaymentStatus: "pending" }, { status: "active" }],
    ["one whose payment failed past due", "issued", { lastPaymentStatus: "failed" }, {}, {
      status: "past_due",
      lastPaymentStatus: "failed",
    }, {}],
    ["a cancelled one nothing else", "issued", { status: "cancelled" }, {}, { status: "cancelled" }, {}],
    ["its tenant suspended", "reminded", { status: "past_due" }, {}, { status: "past_due" }, {
      status: "suspended",
      suspensionReason: "Payment overdue",
    }],
    ["no cancelled tenant suspended", "reminded", {}, { status: "cancelled" }, {}, { status: "cancelled" }],
    ["no other suspension of its own", "reminded", {}, { status: "suspended", suspensionReason: "Abuse" }, {}, {
      suspensionReason: "Abuse",
    }],
  ])("B21: makes %s", (_, passed, fields, owner, after, tenant) => {
    const state = { subscription: sub({ ...fields, unpaidInvoices: [unpaid(passed)] }), tenant: hotel(owner) };
    const step = nextDunning(state.subscription);
    expect(step && dunned(state, step)).toMatchObject({ subscription: after, tenant });
  });

  test("B21: is of the invoices of the subscription that are not paid", () => {
    const subscription = sub();
    const made = { ...invoiceEntity.schema.parse(invoiceEntity.example), subscriptionId: subscription.id };
    expect(owing(subscription, made).unpaidInvoices).toEqual([{ invoiceId: made.id, dueDate: made.dueDate, step: "issued" }]);
    expect(owing(subscription, { ...made, status: "paid" })).toBe(subscription);
    expect(owing(subscription, { ...made, subscriptionId: "sub_other" })).toBe(subscription);
  });

  const OVERDUE = { status: "suspended", suspensionReason: "Payment overdue", suspendedFrom: "active" } as const;
  test.each<[string, UnpaidInvoice[], Partial<Tenant>, Parameters<typeof settled>[2], string, string]>([
    ["the last overdue invoice paid", [unpaid("suspended")], OVERDUE, "paid", "active", "active"],
    ["the last overdue invoice voided", [unpaid("suspended")], OVERDUE, "void", "active", "active"],
    ["a payment that failed", [unpaid("suspended")], OVERDUE, "failed", "past_due", "suspended"],
    ["another invoice overdue", [unpaid("suspended"), unpaid("past_due", LATE, "inv_2")], OVERDUE, "paid", "past_due", "suspended"],
    ["another invoice issued, but not due", [unpaid("suspended"), unpaid("issued", LATE, "inv_2")], OVERDUE, "paid", "active", "active"],
    ["a suspension for another reason", [unpaid("suspended")], { ...OVERDUE, suspensionReason: "Abuse" }, "paid", "active", "suspended"],
    ["an overdue invoice and a tenant that is not suspended", [unpaid("past_due")], {}, "paid", "active", "active"],
  ].map((row) => row as never))(
    "B21: with %s, a past-due subscription and its tenant recover or not",
    (_, unpaidInvoices, owner, to, status, tenant) => {
      const after = settled({ subscription: sub({ status: "past_due", unpaidInvoices }), tenant: hotel(owner) }, "inv_1", to, LATE);
      expect([after.subscription.status, after.tenant.status]).toEqual([status, tenant]);
      expect(isOverdue(after.subscription)).toBe(status === "past_due");
      expect(after.subscription.lastPaymentStatus).toBe((to as string) === "void" ? undefined : to);
    },
  );
});
