import { Collection, type Stored } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { subscription } from "../subscriptions/entity.ts";
import { tenant } from "../tenants/entity.ts";
import { isInCohort, type Scheme, selectionOf } from "./rules.ts";

export interface Subscriber {
  readonly tenant: Stored<typeof tenant>;
  readonly subscription: Stored<typeof subscription>;
}

export interface SubscriberPage {
  readonly subscribers: Subscriber[];
  /** The number of subscriptions that were read, also outside the cohort. */
  readonly read: number;
  /** Where the next page begins; null on the last one. */
  readonly cursor: string | null;
}

/** One page of the subscribers that a migration moves: of at most `limit` subscriptions, those in the cohort. */
export async function subscribersOf(work: UnitOfWork, scheme: Scheme, cursor: string | null, limit: number): Promise<SubscriberPage> {
  const tenants = new Collection(tenant, work.store);
  const page = await subscriptionsOf(work, scheme, cursor, limit);
  const found = await tenants.getMany(page.records.map(({ tenantId }) => tenants.key({ id: tenantId })));
  const subscribers = page.records.flatMap((subscription, i) => {
    const tenant = found[i];
    return tenant && isInCohort(scheme, subscription, tenant) ? [{ tenant, subscription }] : [];
  });
  return { subscribers, read: page.records.length, cursor: page.cursor };
}

/** By the index on plan and version, or by the keys of the tenants that are named. */
async function subscriptionsOf(work: UnitOfWork, scheme: Scheme, cursor: string | null, limit: number) {
  const subscriptions = new Collection(subscription, work.store);
  const { tenantIds } = scheme.cohort;
  if (!tenantIds) {
    const orderBy = [{ field: "planVersion", direction: "asc" }] as const;
    return await subscriptions.list({ where: selectionOf(scheme), orderBy, limit, ...(cursor === null ? {} : { cursor }) });
  }
  const ids = [...new Set(tenantIds)];
  const from = Number(cursor ?? 0);
  const named = await subscriptions.getMany(ids.slice(from, from + limit).map((tenantId) => subscriptions.key({ tenantId })));
  return { records: named.filter((record) => record !== null), cursor: from + limit < ids.length ? String(from + limit) : null };
}
