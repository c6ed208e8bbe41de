import { Records } from "../../core/records.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { Mutation } from "../../kv/store.ts";
import type { PlanTerms } from "../plans/entity.ts";
import type { Subscription } from "../subscriptions/entity.ts";
import type { Tenant } from "../tenants/entity.ts";
import { limitMutations } from "../usage/limits.ts";
import { type Entitlements, entitlements, type GrantItem } from "./entity.ts";
import { basisOf, entitlementsOf, grantsOf, type StoredEntitlements, storedEntitlements, type Terms, termsOf } from "./reads.ts";
import { type Basis, changedLimits, limitsOf, type Resolved, resolved, revised } from "./rules.ts";

/** The parts of a commit that follow from a change of entitlements. All are empty if nothing changes. */
export interface EntitlementChange {
  readonly changes: readonly Change[];
  /** The new limits of the current usage records. */
  readonly mutations: readonly Mutation[];
  /** What the event of the commit carries. */
  readonly eventData: JsonObject;
}

const UNCHANGED: EntitlementChange = { changes: [], mutations: [], eventData: {} };

/** The tenant and its subscription as they are after the commit. */
interface After {
  readonly tenant: Tenant;
  readonly subscription: Subscription | null;
  /** The terms of the subscription's plan version. Default: read if they are not those of the stored entitlements. */
  readonly terms?: (PlanTerms & { readonly planVersion?: number }) | null | undefined;
  /** The stored entitlements, if the caller has read them within this decision. */
  readonly stored?: StoredEntitlements | null | undefined;
}

/**
 * The entitlements after a change of the tenant's status or plan, or of its subscription. Call it within the decision, for its commit.
 * The commit must change or check the tenant and the subscription, so that this follows every change of them.
 */
export async function entitlementChanges(work: UnitOfWork, { tenant, subscription, terms, stored }: After): Promise<EntitlementChange> {
  const before = stored === undefined ? await storedEntitlements(work, tenant.id) : stored;
  const [sold, grants] = await Promise.all([
    terms ?? knownTerms(before, tenant, subscription) ?? termsOf(work, tenant, subscription),
    before?.grants ?? grantsOf(work, tenant.id),
  ]);
  return await written(work, before, basisOf(tenant, subscription, sold, grants));
}

/** The entitlements after a change of grants. `edit` returns the grants as they are after the commit. Throws `not_found` without a tenant. */
export async function grantChanges(
  work: UnitOfWork,
  tenantId: string,
  edit: (grants: readonly GrantItem[]) => readonly GrantItem[],
): Promise<EntitlementChange> {
  const before = await storedEntitlements(work, tenantId);
  const basis = before ?? await entitlementsOf(work, tenantId);
  if (!basis) throw errors.notFound("tenant", tenantId);
  return await written(work, before, { ...basis, grants: [...edit(basis.grants)] });
}

/** The record that is created with its tenant, and what the event carries. */
export function firstEntitlements(
  tenant: Tenant,
  subscription: Subscription,
  terms: Terms,
  now: string,
): Pick<EntitlementChange, "changes" | "eventData"> {
  const record = revised(null, basisOf(tenant, subscription, terms, []), now);
  return record
    ? { changes: [{ entity: entitlements, before: null, after: record }], eventData: eventDataOf(resolved(record, now)) }
    : UNCHANGED;
}

/** Writes the entitlements again if a grant has expired, with an event and the limits of usage. `id`: the tenant's, or the key. */
export async function refreshEntitlements(work: UnitOfWork, id: string): Promise<void> {
  await new Records(entitlements, work).change(id, {}, "entitlements.updated", async (before) => {
    const record = revised(before, before, work.now());
    if (!record) return { record: before };
    return { record, mutations: await usageLimits(work, before, record), eventData: eventDataOf(resolved(record, work.now())) };
  });
}

/** The member of an event with which a receiver keeps the highest revision. */
function eventDataOf(after: Resolved): JsonObject {
  return { entitlements: after as unknown as JsonObject };
}

/** The limits of the usage records after a revision, where they differ. `before` is null if nothing was written yet. */
async function usageLimits(work: UnitOfWork, before: Entitlements | null, after: Entitlements): Promise<Mutation[]> {
  const limits = resolved(after, after.updatedAt);
  const isMoved = before?.planId !== after.planId || before.planVersion !== after.planVersion;
  // The records have the limits of the last write, when the grants that have expired since still counted.
  const metrics = isMoved ? undefined : changedLimits(resolved(before, before.updatedAt), limits);
  return metrics?.length === 0 ? [] : await limitMutations(work, after.tenantId, limitsOf(limits), metrics);
}

async function written(work: UnitOfWork, before: StoredEntitlements | null, basis: Basis): Promise<EntitlementChange> {
  const now = work.now();
  const record = revised(before, basis, now);
  if (!record) return UNCHANGED;
  return {
    changes: [{ entity: entitlements, before, after: record }],
    mutations: await usageLimits(work, before, record),
    eventData: eventDataOf(resolved(record, now)),
  };
}

/** The stored terms, if they are those of the subscription's version, which never change. */
function knownTerms(before: Entitlements | null, { plan }: Tenant, sold: Subscription | null): Terms | null {
  if (!before || before.planId !== (sold?.planId ?? plan) || (sold && before.planVersion !== sold.planVersion)) return null;
  return { features: before.planFeatures, limits: before.planLimits, planVersion: before.planVersion };
}
