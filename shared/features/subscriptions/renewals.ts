import { maxPrice } from "../../core/money.ts";
import { addInterval, dayOfMonth } from "../../core/periods.ts";
import { MAX_MINOR_UNITS } from "../../core/values.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import type { LineItem } from "../invoices/entity.ts";
import type { PlanTerms, PlanVersion } from "../plans/entity.ts";
import type { Tenant } from "../tenants/entity.ts";
import { moveStatus } from "../tenants/rules.ts";
import { type Billed, dunned, type DunningStep, nextDunning } from "./dunning.ts";
import type { Subscription } from "./entity.ts";
import { withRevenue } from "./revenue.ts";
import { billingDue, ended, isTrialPlan } from "./rules.ts";

export const TRIAL_ENDED = "The trial ended";

/** What happens to a subscription at one instant. It is one commit. */
export interface Step extends Billed {
  /** The instant at which it was due, which may be long before it is done. */
  readonly at: string;
  /** The audit entries and events, in their order. None of an invoice that is issued. */
  readonly actions: readonly string[];
  /** The lines of the invoice that is issued. Empty: none. */
  readonly lines: readonly LineItem[];
  /** The currency of the plan. */
  readonly currency?: string;
  /** The unpaid invoice that the step is about. */
  readonly dunning?: DunningStep;
}

/** Whether the next step depends on the terms that the tenant was sold. */
export function needsTerms(subscription: Subscription): boolean {
  const due = billingDue(subscription);
  return due !== null && due.kind !== "final" && !(due.kind === "period_end" && subscription.cancelAtPeriodEnd);
}

/**
 * The next step that is due at `until` or before; null if there is none. At the same instant, dunning comes before billing: a tenant
 * that is suspended at the start of a period is not invoiced for it. `terms` is not null if {@link needsTerms}.
 */
export function nextStep(state: Billed, terms: PlanVersion | null, until: string): Step | null {
  const { subscription } = state;
  const [dunning, billing] = [nextDunning(subscription), billingDue(subscription)];
  if (dunning && dunning.at <= until && dunning.at <= (billing?.at ?? until)) return dunningStep(state, dunning);
  if (!billing || billing.at > until) return null;
  const { at, kind } = billing;
  if (kind === "final") return finalStep(state, at);
  if (kind === "period_end" && subscription.cancelAtPeriodEnd) return expired(state, at);
  if (!terms) throw new InnkeepError("internal", "The terms of the subscription were not loaded.");
  if (kind === "invoice") return { at, actions: [], ...invoiced(state, { ...terms, ...subscription.periodPrice }, at) };
  return subscription.status === "trialing" && isTrialPlan(terms) ? expired(state, at) : nextPeriod(state, terms, at);
}

const DUNNING_ACTIONS = { past_due: "subscription.past_due", reminded: "invoice.overdue", suspended: "tenant.suspended" } as const;

function dunningStep(state: Billed, dunning: DunningStep): Step {
  const after = dunned(state, dunning);
  const hasEffect = dunning.step === "reminded" || after.tenant !== state.tenant || after.subscription.status !== state.subscription.status;
  return { ...after, at: dunning.at, actions: [hasEffect ? DUNNING_ACTIONS[dunning.step] : "subscription.updated"], lines: [], dunning };
}

/** The invoice of what is left to pay after a cancellation. */
function finalStep({ subscription, tenant }: Billed, at: string): Step {
  const { lines, rest } = payable(subscription.pendingItems, MAX_MINOR_UNITS);
  return { subscription: { ...subscription, pendingItems: rest }, tenant, at, actions: [], lines };
}

/** The end of a subscription with its period or trial. A tenant whose trial is not continued is suspended. */
function expired({ subscription, tenant }: Billed, at: string): Step {
  const isTrial = subscription.status === "trialing";
  const after = isTrial && tenant.status === "trial" ? moveStatus(tenant, { to: "suspended", reason: TRIAL_ENDED }, at) : tenant;
  const over = ended(subscription, at);
  const moved = withRevenue(isTrial ? withoutTrial(after) : after, over, null);
  return {
    subscription: over,
    tenant: moved,
    at,
    actions: [
      ...(isTrial ? ["subscription.trial_ended"] : []),
      "subscription.cancelled",
      ...(after !== tenant ? ["tenant.suspended"] : moved !== tenant ? ["tenant.updated"] : []),
    ],
    lines: [],
  };
}

/** The next period, with its invoice. The first one after a trial begins to be paid, and its day is the anchor of the later ones. */
function nextPeriod({ subscription, tenant }: Billed, terms: PlanVersion, at: string): Step {
  const isTrial = subscription.status === "trialing" || (subscription.anchorDay === undefined && tenant.trialEndsAt === at);
  const live = isTrial && tenant.status === "trial" ? moveStatus(tenant, { to: "active" }, at) : tenant;
  const after = isTrial ? withoutTrial(live) : live;
  const anchorDay = subscription.anchorDay ?? dayOfMonth(at);
  const { periodPrice: _, ...next } = subscription;
  const period = {
    ...next,
    status: subscription.status === "trialing" ? "active" : subscription.status,
    currentPeriodStart: at,
    currentPeriodEnd: addInterval(at, terms, anchorDay),
    // A pending tenant pays from its activation on.
    ...(tenant.status === "pending" ? {} : { anchorDay }),
  } as Subscription;
  const actions = [isTrial ? "subscription.trial_ended" : "subscription.renewed", ...(after === tenant ? [] : ["tenant.updated"])];
  return { at, actions, ...invoiced({ subscription: period, tenant: after }, terms, at) };
}

/** A suspension that began in a trial ends in the status after it. */
function withoutTrial(tenant: Tenant): Tenant {
  return tenant.status === "suspended" && tenant.suspendedFrom === "trial" ? { ...tenant, suspendedFrom: "active" } : tenant;
}

/** The present period with its invoice. A tenant that is pending or suspended at its start is not invoiced for it. */
function invoiced({ subscription, tenant }: Billed, terms: PlanVersion, at: string): Billed & Pick<Step, "lines" | "currency"> {
  const after: Subscription = { ...subscription, invoicedUntil: subscription.currentPeriodEnd };
  if (isWithoutInvoice(tenant, at)) {
    return { subscription: { ...after, freeUntil: subscription.currentPeriodEnd }, tenant, lines: [] };
  }
  const { lines, rest } = periodLines(subscription, terms);
  return { subscription: { ...after, pendingItems: rest }, tenant, lines, currency: terms.currency };
}

function isWithoutInvoice({ status, suspendedAt = "" }: Tenant, at: string): boolean {
  return status === "pending" || (status === "suspended" && suspendedAt <= at);
}

/** The lines of the invoice of the present period: its charge and the pending items. `rest`: credits that exceed the charges. */
export function periodLines(
  { currentPeriodStart: periodStart, currentPeriodEnd: periodEnd, pendingItems }: Subscription,
  { planId, price, currency }: Pick<PlanVersion, "planId"> & Pick<PlanTerms, "price" | "currency">,
): { readonly lines: LineItem[]; readonly rest: LineItem[] } {
  const description = `${planId}, ${periodStart.slice(0, 10)} to ${periodEnd.slice(0, 10)}`;
  const charge: LineItem = { description, quantity: 1, unitAmount: price, amount: price, kind: "plan", periodStart, periodEnd };
  return payable(price > 0 ? [charge, ...pendingItems] : pendingItems, maxPrice(currency));
}

/**
 * The items that one invoice can contain, which sums to 0 at least and to the highest price at most. A credit that is too large is
 * split; a charge that is too large waits for the next invoice.
 */
function payable(items: readonly LineItem[], highest: number): { readonly lines: LineItem[]; readonly rest: LineItem[] } {
  let charged = 0;
  const waits = new Set<LineItem>();
  for (const item of items) {
    if (charged + item.amount > highest) waits.add(item);
    else charged += Math.max(item.amount, 0);
  }
  let left = charged;
  const lines: LineItem[] = [];
  const rest: LineItem[] = [];
  for (const item of items) {
    const used = Math.min(left, Math.max(-item.amount, 0));
    left -= used;
    if (waits.has(item)) rest.push(item);
    else if (item.amount >= 0) lines.push(item);
    else if (used > 0) lines.push(partOf(item, -used));
    if (item.amount + used < 0) rest.push(partOf(item, item.amount + used));
  }
  return { lines: charged > 0 ? lines : [], rest };
}

function partOf(item: LineItem, amount: number): LineItem {
  return amount === item.amount ? item : { ...item, quantity: 1, unitAmount: amount, amount };
}
