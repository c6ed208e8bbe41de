import { addInterval, type Recurrence } from "../../core/periods.ts";
import type { LineItem } from "../invoices/entity.ts";
import { LIMITS_WITHOUT_METRIC, type Plan, type PlanTerms } from "../plans/entity.ts";
import type { Tenant } from "../tenants/entity.ts";
import { limitOf } from "../usage/rules.ts";
import type { Subscription } from "./entity.ts";
import { type PlanChange, sumOf } from "./proration.ts";

/** What a plan change would do. */
export interface ChangePreview {
  readonly planId: string;
  readonly planVersion: number;
  /** When limits and features change. */
  readonly effectiveAt: string;
  readonly startsPeriod: boolean;
  /** The charges and credits of the change, for the next invoice. */
  readonly pendingItems: LineItem[];
  readonly nextInvoice: NextInvoice | null;
  readonly mrr: { readonly before: number; readonly after: number };
  readonly entitlementsLost: string[];
  readonly limitsLowered: LoweredLimit[];
  readonly quotasExceeded: ExceededQuota[];
  /** Of the subscription. A change that requires it does what the preview shows, if it is made at the same instant. */
  readonly version: string;
}

interface PreviewInput {
  readonly version: string;
  readonly plan: Plan;
  /** The terms that the tenant was sold. Null if they no longer exist. */
  readonly sold: PlanTerms | null;
  readonly change: PlanChange;
  readonly subscription: Subscription;
  /** Before the change. */
  readonly tenant: Tenant;
  readonly after: Tenant;
  /** Of the present month. */
  readonly usage: readonly { readonly metric: string; readonly current: number }[];
}

/** `subscription` and `after` are what the change would write. */
export function previewOf({ version, plan, sold, change, subscription, tenant, after, usage }: PreviewInput, now: string): ChangePreview {
  return {
    planId: plan.id,
    planVersion: plan.planVersion,
    effectiveAt: now,
    startsPeriod: change.startsPeriod,
    pendingItems: change.items,
    nextInvoice: nextInvoice(subscription, plan, now),
    mrr: { before: tenant.mrr, after: after.mrr },
    entitlementsLost: featuresLost(sold?.features ?? [], plan.features),
    limitsLowered: limitsLowered(sold?.limits ?? {}, plan.limits),
    quotasExceeded: quotasExceeded(plan.limits, usage, tenant),
    version,
  };
}

/** The next invoice, if nothing else changes until it is issued. */
export interface NextInvoice {
  readonly date: string;
  readonly lineItems: LineItem[];
  /** Before tax. At least 0: credits that exceed the charges stay pending. */
  readonly total: number;
}

export interface LoweredLimit {
  readonly metric: string;
  /** Null means unlimited. */
  readonly from: number | null;
  readonly to: number;
}

export interface ExceededQuota {
  readonly metric: string;
  readonly current: number;
  readonly limit: number;
}

/** The next invoice of a subscription whose other fields fit its status and period. Null if none is due, or it would be empty. */
export function nextInvoice(subscription: Subscription, terms: Pick<PlanTerms, "price"> & Recurrence, now: string): NextInvoice | null {
  const { nextBillingAt, currentPeriodStart, currentPeriodEnd, anchorDay, pendingItems, status } = subscription;
  if (nextBillingAt === undefined) return null;
  const isNext = nextBillingAt === currentPeriodEnd;
  const periodStart = isNext ? currentPeriodEnd : currentPeriodStart;
  const periodEnd = isNext ? addInterval(currentPeriodEnd, terms, anchorDay) : currentPeriodEnd;
  const isOver = status === "cancelled" || (isNext && subscription.cancelAtPeriodEnd);
  const lineItems = isOver || terms.price === 0
    ? pendingItems
    : [periodItem(subscription.planId, terms.price, periodStart, periodEnd), ...pendingItems];
  if (!lineItems.some(({ amount }) => amount > 0)) return null;
  return { date: nextBillingAt < now ? now : nextBillingAt, lineItems, total: Math.max(0, sumOf(lineItems)) };
}

function periodItem(planId: string, price: number, periodStart: string, periodEnd: string): LineItem {
  const description = `${planId}, ${periodStart.slice(0, 10)} to ${periodEnd.slice(0, 10)}`;
  return { description, quantity: 1, unitAmount: price, amount: price, kind: "plan", periodStart, periodEnd };
}

type Limits = PlanTerms["limits"];

/** The limits that are lower after a change. One that a plan does not name is unlimited. */
export function limitsLowered(from: Limits, to: Limits): LoweredLimit[] {
  return Object.keys(to).toSorted().flatMap((metric) => {
    const [before, after] = [limitOf(from, metric), limitOf(to, metric)];
    return after !== null && (before === null || after < before) ? [{ metric, from: before, to: after }] : [];
  });
}

/** The limits below what the tenant already uses. */
export function quotasExceeded(
  limits: Limits,
  usage: readonly { readonly metric: string; readonly current: number }[],
  { customDomain }: Pick<Tenant, "customDomain">,
): ExceededQuota[] {
  const used = [...usage, ...[...LIMITS_WITHOUT_METRIC].map((metric) => ({ metric, current: customDomain === undefined ? 0 : 1 }))];
  return used.flatMap(({ metric, current }) => {
    const limit = limitOf(limits, metric);
    return limit !== null && current > limit ? [{ metric, current, limit }] : [];
  });
}

export function featuresLost(from: readonly string[], to: readonly string[]): string[] {
  return from.filter((feature) => !to.includes(feature)).toSorted();
}
