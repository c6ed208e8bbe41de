import { Collection, type Stored } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { keyOf } from "../../kv/define.ts";
import { subscription } from "../subscriptions/entity.ts";
import { tenant } from "../tenants/entity.ts";
import { isInCohort, type Scheme, selectionOf } from "./rules.ts";

export interface Subscriber {
  readonly tenant: Stored<typeof tenant>;
  readonly subscription: Stored<typeof subscription>;
}

export interface SubscriberPage {
  readonly subscribers: Subscriber[];
  /** The tenants whose record or subscription does not match its declaration, which only an import can cause. */
  readonly unreadable: string[];
  /** The number of subscriptions that were read, also outside the cohort. */
  readonly read: number;
  /** Where the next page begins; null on the last one. */
  readonly cursor: string | null;
}

/** One page of the subscribers that a migration moves: of at most `limit` subscriptions, those in the cohort. */
export async function subscribersOf(work: UnitOfWork, scheme: Scheme, cursor: string | null, limit: number): Promise<SubscriberPage> {
  const [tenants, subscriptions] = [new Collection(tenant, work.store), new Collection(subscription, work.store)];
  const { entries, cursor: next } = await subscriptionsOf(work, scheme, cursor, limit);
  const owners = await work.store.mget(entries.map(({ tenantId }) => tenants.key({ id: tenantId ?? "" })));
  const page: SubscriberPage = { subscribers: [], unreadable: [], read: entries.length, cursor: next };
  for (const [i, entry] of entries.entries()) {
    const owner = owners[i];
    if (!owner) continue;
    const [own, sold] = [tenants.readIfValid(owner), subscriptions.readIfValid(entry)];
    if (!own || !sold) page.unreadable.push(entry.tenantId ?? "");
    else if (isInCohort(scheme, sold, own)) page.subscribers.push({ tenant: own, subscription: sold });
  }
  return page;
}

/** By the index on plan and version, or by the keys of the tenants that are named. */
async function subscriptionsOf(work: UnitOfWork, scheme: Scheme, cursor: string | null, limit: number) {
  const { tenantIds } = scheme.cohort;
  if (!tenantIds) {
    const orderBy = [{ field: "planVersion", direction: "asc" }] as const;
    const after = cursor === null ? {} : { cursor };
    return await work.store.query({ entity: subscription, where: selectionOf(scheme), orderBy, limit, ...after });
  }
  const ids = [...new Set(tenantIds)];
  const from = Number(cursor ?? 0);
  const named = await work.store.mget(ids.slice(from, from + limit).map((tenantId) => keyOf(subscription, { tenantId })));
  return { entries: named.filter((entry) => entry !== null), cursor: from + limit < ids.length ? String(from + limit) : null };
}
