import { addDays } from "../../core/periods.ts";
import type { Invoice, InvoiceStatus } from "../invoices/entity.ts";
import type { Tenant } from "../tenants/entity.ts";
import { moveStatus } from "../tenants/rules.ts";
import type { Subscription, UnpaidInvoice } from "./entity.ts";

/** Days after the due date of an unpaid invoice. */
export const REMINDER_DAYS = 7;
export const SUSPENSION_DAYS = 14;
export const PAYMENT_OVERDUE = "Payment overdue";

/** The next step of an unpaid invoice, and its instant. */
export interface DunningStep {
  readonly at: string;
  readonly invoiceId: string;
  readonly step: Exclude<UnpaidInvoice["step"], "issued">;
}

const NEXT = { issued: "past_due", past_due: "reminded", reminded: "suspended" } as const;
const DAYS = { past_due: 0, reminded: REMINDER_DAYS, suspended: SUSPENSION_DAYS } as const;

/** The earliest step of all unpaid invoices. Null if there is none, or all have passed the last step. */
export function nextDunning({ unpaidInvoices }: Pick<Subscription, "unpaidInvoices">): DunningStep | null {
  const steps = unpaidInvoices.flatMap(({ invoiceId, dueDate, step: passed }): DunningStep[] => {
    if (passed === "suspended") return [];
    const step = NEXT[passed];
    return [{ at: addDays(dueDate, DAYS[step]), invoiceId, step }];
  });
  return steps.reduce<DunningStep | null>((first, step) => first === null || step.at < first.at ? step : first, null);
}

export function isOverdue({ unpaidInvoices }: Pick<Subscription, "unpaidInvoices">): boolean {
  return unpaidInvoices.some(({ step }) => step !== "issued");
}

/** Records that belong together in a decision. */
export interface Billed<S extends Subscription = Subscription, T extends Tenant = Tenant> {
  readonly subscription: S;
  readonly tenant: T;
}

/** The state after a step: past due, reminded, or the tenant suspended. A tenant that is not live stays as it is. */
export function dunned({ subscription, tenant }: Billed, { at, invoiceId, step }: DunningStep): Billed {
  const unpaidInvoices = subscription.unpaidInvoices.map((one) => one.invoiceId === invoiceId ? { ...one, step } : one);
  const after: Subscription = { ...subscription, unpaidInvoices };
  if (step === "past_due") {
    const lastPaymentStatus = subscription.lastPaymentStatus === "failed" ? "failed" : "pending";
    return { subscription: { ...after, ...(after.status === "active" ? { status: "past_due" } : {}), lastPaymentStatus }, tenant };
  }
  const isSuspension = step === "suspended" && (tenant.status === "active" || tenant.status === "trial");
  return {
    subscription: after,
    tenant: isSuspension ? moveStatus(tenant, { to: "suspended", reason: PAYMENT_OVERDUE }, at) : tenant,
  };
}

/** The subscription with an invoice that was issued for it. An invoice of another subscription, or one that is paid, changes nothing. */
export function owing(subscription: Subscription, { id, subscriptionId, dueDate, status }: Invoice): Subscription {
  if (subscriptionId !== subscription.id || status === "paid") return subscription;
  return { ...subscription, unpaidInvoices: [...subscription.unpaidInvoices, { invoiceId: id, dueDate, step: "issued" }] };
}

/** The subscription without the invoice. */
export function without(subscription: Subscription, invoiceId: string): Subscription {
  return { ...subscription, unpaidInvoices: subscription.unpaidInvoices.filter((one) => one.invoiceId !== invoiceId) };
}

/**
 * The state after an invoice of the subscription was paid, failed, voided or refunded at `now`. With its last overdue invoice paid or
 * voided, a past-due subscription is active, and a tenant that was suspended for nothing else is live.
 */
export function settled({ subscription, tenant }: Billed, invoiceId: string, to: InvoiceStatus, now: string): Billed {
  const paid = to === "void" ? {} : { lastPaymentStatus: to };
  if (to !== "paid" && to !== "void") return { subscription: { ...subscription, ...paid }, tenant };
  const after = { ...without(subscription, invoiceId), ...paid };
  if (isOverdue(after)) return { subscription: after, tenant };
  const isLifted = tenant.status === "suspended" && tenant.suspensionReason === PAYMENT_OVERDUE;
  return {
    subscription: after.status === "past_due" ? { ...after, status: "active" } : after,
    tenant: isLifted ? moveStatus(tenant, { unsuspension: true }, now) : tenant,
  };
}
