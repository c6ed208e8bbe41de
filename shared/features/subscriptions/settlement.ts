import type { Stored } from "../../core/collection.ts";
import { notesOf } from "../../core/notes.ts";
import { type Decided, Records } from "../../core/records.ts";
import { diff } from "../../core/redaction.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { entitlementChanges } from "../entitlements/changes.ts";
import type { Invoice } from "../invoices/entity.ts";
import { findTerms } from "../plans/versions.ts";
import { movementChanges } from "../revenue/changes.ts";
import { type Tenant, tenant as tenantEntity } from "../tenants/entity.ts";
import { type Billed, owing, settled } from "./dunning.ts";
import { type Subscription, subscription as subscriptionEntity } from "./entity.ts";
import { fitted, isFreed, newPeriod } from "./rules.ts";

type StoredSubscription = Stored<typeof subscriptionEntity>;
type StoredTenant = Stored<typeof tenantEntity>;
type Part = Pick<Decided<unknown>, "changes" | "checks" | "mutations" | "data" | "eventData" | "notes">;

/** What changes with an invoice that was issued by a request, for the same commit: its subscription owes it. */
export async function issueChanges(work: UnitOfWork, issued: Invoice): Promise<Part> {
  const before = issued.subscriptionId === undefined ? null : await new Records(subscriptionEntity, work).get(issued.tenantId);
  if (!before || before.id !== issued.subscriptionId) return {};
  return subscriptionPart(work, before, owing(before, issued)) ?? {};
}

/**
 * What changes with an invoice that was paid, failed, voided or refunded, for the same commit: its subscription, and its tenant if it
 * was suspended until the payment. `after` is the changed invoice.
 */
export async function settlementChanges(work: UnitOfWork, after: Invoice): Promise<Part> {
  const { tenantId, subscriptionId, status } = after;
  if (subscriptionId === undefined) return {};
  const [subscription, tenant] = await Promise.all([
    new Records(subscriptionEntity, work).get(tenantId),
    new Records(tenantEntity, work).get(tenantId),
  ]);
  if (!subscription || !tenant || subscription.id !== subscriptionId) return {};
  const effectiveAt = status === "paid" ? after.paidAt ?? work.now() : work.now();
  const next = await restarted(work, tenant, settled({ subscription, tenant }, after.id, status, work.now()), effectiveAt);
  const own = subscriptionPart(work, subscription, next.subscription);
  const lifted = await liftedPart(work, tenant, next);
  const eventData: JsonObject = { effectiveAt, ...lifted.eventData };
  const [change] = own?.changes ?? [];
  const isRecovered = change && subscription.status === "past_due" && next.subscription.status === "active";
  const recovered = isRecovered ? [notesOf("subscription.recovered", subscription.id, change, { eventData })] : [];
  const [unsuspended] = lifted.changes;
  return {
    ...(own?.data ? { data: own.data } : {}),
    changes: [...own?.changes ?? [], ...lifted.changes],
    // Every step of the dunning changes the subscription, so that a suspension meanwhile is seen.
    checks: own ? [] : [{ key: `subscription:${tenantId}`, version: subscription.version }],
    mutations: lifted.mutations,
    eventData: lifted.eventData,
    notes: [...recovered, ...(unsuspended ? [notesOf("tenant.unsuspended", tenantId, unsuspended, { eventData })] : [])],
  };
}

/**
 * A period that was free because of the suspension is paid from the payment on, as if that had been recorded at its instant. Without
 * the terms, which only an import can cause, it goes on.
 */
async function restarted(work: UnitOfWork, before: Tenant, { subscription, tenant }: Billed, at: string): Promise<Billed> {
  const terms = tenant !== before && isFreed(subscription, tenant) ? await findTerms(work, subscription) : null;
  const { currentPeriodStart: first } = subscription;
  return { subscription: terms ? newPeriod(subscription, terms, at < first ? first : at) : subscription, tenant };
}

/** The change of a subscription, and its fields for the audit entry of the invoice. Null if nothing changes. */
function subscriptionPart(work: UnitOfWork, before: StoredSubscription, decided: Subscription) {
  const after = fitted(decided, work.now());
  const differs = diff(subscriptionEntity, before, after);
  if (!differs) return null;
  const change: Change = { entity: subscriptionEntity, before, after: { ...after, updatedAt: work.now() } };
  return { changes: [change], data: { subscription: { ...differs } as JsonObject } };
}

/** The tenant with its suspension lifted, first, and what follows from it. Empty if it stays as it is. */
async function liftedPart(work: UnitOfWork, before: StoredTenant, { subscription, tenant }: Billed) {
  if (tenant === before) return { changes: [], mutations: [], eventData: {} };
  const after = { ...tenant, updatedAt: work.now() };
  const change: Change = { entity: tenantEntity, before, after };
  const [entitled, movements] = await Promise.all([
    entitlementChanges(work, { tenant: after, subscription }),
    movementChanges(work, before, after),
  ]);
  return { ...entitled, changes: [change, ...movements, ...entitled.changes] };
}
