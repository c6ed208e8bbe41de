import { addInterval } from "../../core/periods.ts";
import type { Entitlements } from "../entitlements/entity.ts";
import { limitsOf, resolved } from "../entitlements/rules.ts";
import type { LineItem } from "../invoices/entity.ts";
import { LIMITS_WITHOUT_METRIC, type Plan, type PlanTerms } from "../plans/entity.ts";
import type { Tenant } from "../tenants/entity.ts";
import { limitOf } from "../usage/rules.ts";
import type { Subscription } from "./entity.ts";
import { type PlanChange, sumOf } from "./proration.ts";
import { periodLines } from "./renewals.ts";
import { billingDue, isTrialPlan } from "./rules.ts";

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
  readonly change: PlanChange;
  readonly subscription: Subscription;
  /** Before the change. */
  readonly tenant: Tenant;
  readonly after: Tenant;
  readonly entitled: Entitlements;
  readonly usage: Usage;
}

/** The usage of the present month. */
type Usage = readonly { readonly metric: string; readonly current: number }[];

/** `subscription` and `after` are what the change would write. */
export function previewOf(
  { version, plan, change, subscription, tenant, after, entitled, usage }: PreviewInput,
  now: string,
): ChangePreview {
  return {
    planId: plan.id,
    planVersion: plan.planVersion,
    effectiveAt: now,
    startsPeriod: change.startsPeriod,
    pendingItems: change.items,
    nextInvoice: nextInvoice(subscription, plan, now),
    mrr: { before: tenant.mrr, after: after.mrr },
    ...lossOf(entitled, plan, { tenant, usage }, now),
    version,
  };
}

/** The next invoice, if nothing else changes until it is issued. */
export interface NextInvoice {
  readonly date: string;
  readonly lineItems: LineItem[];
  /** Before tax. At least 0: what exceeds the charges of a credit stays pending. */
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

/** The next invoice of a subscription to the plan, as the job would issue it. Null if none is due, or it would be empty. */
export function nextInvoice(subscription: Subscription, plan: Plan, now: string): NextInvoice | null {
  const due = billingDue(subscription);
  if (!due) return null;
  const { at, kind } = due;
  const isOver = subscription.cancelAtPeriodEnd || (subscription.status === "trialing" && isTrialPlan(plan));
  const isCharged = kind === "invoice" || (kind === "period_end" && !isOver);
  const next = { ...subscription, currentPeriodStart: at, currentPeriodEnd: addInterval(at, plan, subscription.anchorDay) };
  const { id: planId, price, currency } = plan;
  const { lines } = periodLines(kind === "period_end" ? next : subscription, { planId, currency, price: isCharged ? price : 0 });
  return lines.length === 0 ? null : { date: at < now ? now : at, lineItems: lines, total: sumOf(lines) };
}

type Loss = Pick<ChangePreview, "entitlementsLost" | "limitsLowered" | "quotasExceeded">;

/** What a tenant loses with a change to these terms. What a grant gives it stays. */
export function lossOf(
  entitled: Entitlements,
  { features, limits }: Pick<PlanTerms, "features" | "limits">,
  { tenant, usage }: { readonly tenant: Pick<Tenant, "customDomain">; readonly usage: Usage },
  now: string,
): Loss {
  const [before, after] = [resolved(entitled, now), resolved({ ...entitled, planFeatures: features, planLimits: limits }, now)];
  const kept = new Set(after.features.map(({ key }) => key));
  return {
    entitlementsLost: before.features.map(({ key }) => key).filter((key) => !kept.has(key)).toSorted(),
    limitsLowered: limitsLowered(limitsOf(before), limitsOf(after)),
    quotasExceeded: quotasExceeded(limitsOf(after), usage, tenant),
  };
}

type Limits = Readonly<Record<string, number | null>>;

/** The limits that are lower after a change. One that is not named is unlimited. */
function limitsLowered(from: Limits, to: Limits): LoweredLimit[] {
  return Object.keys(to).toSorted().flatMap((metric) => {
    const [before, after] = [limitOf(from, metric), limitOf(to, metric)];
    return after !== null && (before === null || after < before) ? [{ metric, from: before, to: after }] : [];
  });
}

/** The limits below what the tenant already uses. */
function quotasExceeded(limits: Limits, usage: Usage, { customDomain }: Pick<Tenant, "customDomain">): ExceededQuota[] {
  const used = [...usage, ...[...LIMITS_WITHOUT_METRIC].map((metric) => ({ metric, current: customDomain === undefined ? 0 : 1 }))];
  return used.flatMap(({ metric, current }) => {
    const limit = limitOf(limits, metric);
    return limit !== null && current > limit ? [{ metric, current, limit }] : [];
  });
}
