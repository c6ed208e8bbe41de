import { Collection, type Stored } from "../../core/collection.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { keyOf } from "../../kv/define.ts";
import { type PlanTerms, planVersion } from "../plans/entity.ts";
import { findPlan } from "../plans/subscribers.ts";
import { versionKey } from "../plans/versions.ts";
import { type Subscription, subscription as subscriptionEntity } from "../subscriptions/entity.ts";
import { type Tenant, tenant as tenantEntity } from "../tenants/entity.ts";
import { type Entitlements, entitlements, grant, type GrantItem } from "./entity.ts";
import { type Basis, isActive, itemOf } from "./rules.ts";

export type StoredEntitlements = Stored<typeof entitlements>;

/** The terms that decide, and their version. */
export type Terms = Pick<PlanTerms, "features" | "limits"> & { readonly planVersion?: number | undefined };

export function entitlementsKey(tenantId: string): string {
  return keyOf(entitlements, { tenantId });
}

/** Null if nothing has written them yet, which only an import can cause, or if there is no such tenant. */
export async function storedEntitlements(work: UnitOfWork, tenantId: string): Promise<StoredEntitlements | null> {
  return await new Records(entitlements, work).get(tenantId);
}

/** The entitlements of a tenant, as revision 0 if nothing has written them yet. Null if there is no such tenant. */
export async function entitlementsOf(work: UnitOfWork, tenantId: string): Promise<Entitlements | null> {
  return await storedEntitlements(work, tenantId) ?? await unwritten(work, tenantId);
}

/** What an import did not write, from the records that decide. */
async function unwritten(work: UnitOfWork, tenantId: string): Promise<Entitlements | null> {
  const { store } = work;
  const [tenant, subscription] = await Promise.all([
    new Collection(tenantEntity, store).get(tenantId),
    new Collection(subscriptionEntity, store).get(tenantId),
  ]);
  if (!tenant) return null;
  const [terms, grants] = await Promise.all([termsOf(work, tenant, subscription), grantsOf(work, tenantId)]);
  return { ...basisOf(tenant, subscription, terms, grants), revision: 0, updatedAt: work.now() };
}

export function basisOf(tenant: Tenant, subscription: Subscription | null, terms: Terms, grants: readonly GrantItem[]): Basis {
  const version = subscription?.planVersion ?? terms.planVersion;
  return {
    tenantId: tenant.id,
    active: isActive(tenant, subscription),
    planId: subscription?.planId ?? tenant.plan,
    ...(version === undefined ? {} : { planVersion: version }),
    planFeatures: [...new Set(terms.features)].toSorted(),
    planLimits: terms.limits,
    grants: [...grants],
  };
}

/** The terms that the tenant was sold, else its plan's. Without either, which only an import can cause, it has no features or limits. */
export async function termsOf(work: UnitOfWork, { plan }: Tenant, sold: Subscription | null): Promise<Terms> {
  const version = sold && await new Collection(planVersion, work.store).get(versionKey(sold));
  return version ?? await findPlan(work, sold?.planId ?? plan) ?? { features: [], limits: {} };
}

/** Every grant of the tenant. */
export async function grantsOf(work: UnitOfWork, tenantId: string): Promise<GrantItem[]> {
  const grants = new Collection(grant, work.store);
  const found: GrantItem[] = [];
  for await (const entry of work.store.entries({ prefix: `grant:${tenantId}` })) found.push(itemOf(grants.read(entry)));
  return found;
}
