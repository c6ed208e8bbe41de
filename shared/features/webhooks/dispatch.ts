import { Collection, type RecordPage, type Stored } from "../../core/collection.ts";
import { outboxEvent } from "../../core/outbox-event.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { isInnkeepError } from "../../kernel/errors.ts";
import { LIMITS, type Mutation, type Query } from "../../kv/store.ts";
import { nextEvents } from "../events/sequence.ts";
import type { NumberedEvent } from "../events/view.ts";
import { tenant } from "../tenants/entity.ts";
import { delivery, type Webhook, webhook } from "./entity.ts";
import { isActive } from "./health.ts";
import { isSubscribed, newDelivery } from "./matching.ts";

/** Events numbered in one commit. */
const EVENTS = 60;
/** Above 200 keys, a commit locks whole families. */
const MAX_KEYS = 190;
/** Settling endpoints changes their webhooks at the same time. */
const DECISIONS = 20;

type StoredWebhook = Stored<typeof webhook>;

export interface Dispatched {
  readonly events: number;
  /** The keys of the webhooks with new deliveries. */
  readonly webhooks: readonly string[];
  /** Whether more events may wait. */
  readonly more: boolean;
  /** Events that do not match their declaration. They get no number. */
  readonly invalid: readonly string[];
}

/**
 * Numbers the next events and creates their deliveries, in one commit. It checks the version of every webhook that gets one, so that a
 * webhook deleted meanwhile leaves no delivery behind, and changes it, so that nobody overlooks the new deliveries.
 */
export async function dispatch(work: UnitOfWork): Promise<Dispatched> {
  for (let attempt = 1;; attempt++) {
    try {
      return (await work.transact<Dispatched>(() => decide(work))).result;
    } catch (error) {
      // A tenant was deleted between the reads and the commit. The next reads do not find it.
      if (!isInnkeepError(error, "tenant_deleted") || attempt === DECISIONS) throw error;
    }
  }
}

async function decide(work: UnitOfWork) {
  const next = await nextEvents(work, EVENTS);
  const { events, invalid } = next;
  if (events.length === 0) return { done: { events: 0, webhooks: [], more: false, invalid }, resultOf: null } as const;
  const tenants = [...new Set(events.flatMap(({ tenantId }) => tenantId ?? []))];
  const [webhooks, gone] = await Promise.all([activeWebhooks(work, tenants), deletedOf(work, tenants)]);
  const fitting = firstOf(events, webhooks);
  const some = events.slice(0, fitting);
  const changes = next.changes.flatMap((change): Change[] => {
    if (change.entity !== outboxEvent) return [{ ...change, after: { ...change.after, seq: some.at(-1)?.seq } }];
    return some.includes(change.after as NumberedEvent) ? [change] : [];
  });
  const pairs = pairsOf(some, webhooks);
  const woken = [...new Set(pairs.map(([to]) => to))];
  const stored = storedBy(work, changes, gone);
  const deliveries = new Collection(delivery, work.store);
  const commit = {
    changes: [
      ...stored.changes,
      ...woken.map((before): Change => ({ entity: webhook, before, after: { ...before, dueAt: dueAt(before, work.now()) } })),
    ],
    checks: stored.checks,
    mutations: [...stored.mutations, ...pairs.map(([to, event]) => deliveries.set(newDelivery(to, event, work.now())))],
    audit: "none" as const,
    attempts: DECISIONS,
    result: {
      events: some.length,
      webhooks: woken.map(({ id }) => `webhook:${id}`),
      more: fitting < events.length || events.length === EVENTS,
      invalid,
    },
  };
  return { commit, resultOf: null };
}

/** The webhooks of the platform and of the tenants. */
async function activeWebhooks(work: UnitOfWork, tenants: readonly string[]): Promise<readonly StoredWebhook[]> {
  const active = { field: "status", in: ["active"] };
  const [own, platform] = await Promise.all([
    tenants.length === 0 ? [] : allOf(work, { where: [{ field: "tenantId", in: tenants }, active] }),
    allOf(work, { scope: null, where: [active] }),
  ]);
  return [...platform, ...own].filter(isActive);
}

async function allOf(work: UnitOfWork, query: Pick<Query, "scope" | "where">): Promise<readonly StoredWebhook[]> {
  const webhooks = new Collection(webhook, work.store);
  const found: StoredWebhook[] = [];
  let after: string | null = null;
  do {
    const page: RecordPage<typeof webhook> = await webhooks.list({
      ...query,
      limit: LIMITS.pageEntries,
      ...(after === null ? {} : { cursor: after }),
    });
    found.push(...page.records);
    after = page.cursor;
  } while (after !== null);
  return found;
}

/** A deleted tenant owns nothing any more: its last events are stored as the platform's. */
async function deletedOf(work: UnitOfWork, tenants: readonly string[]): Promise<ReadonlySet<string>> {
  const found = await work.store.mget(tenants.map((id) => new Collection(tenant, work.store).key({ id })));
  return new Set(tenants.filter((_, i) => found[i] === null));
}

function storedBy(work: UnitOfWork, changes: readonly Change[], gone: ReadonlySet<string>) {
  const isOfGone = ({ entity, after }: Change) => entity === outboxEvent && gone.has(String((after as NumberedEvent).tenantId));
  const outbox = new Collection(outboxEvent, work.store);
  const orphans = changes.filter(isOfGone);
  const mutations = orphans.map(({ after }): Extract<Mutation, { op: "set" }> => ({
    ...outbox.set(after as NumberedEvent),
    tenantId: null,
  }));
  return {
    changes: changes.filter((change) => !isOfGone(change)),
    mutations,
    checks: orphans.map(({ before }, i) => ({ key: mutations[i]?.key ?? "", version: before?.version ?? null })),
  };
}

/** How many of the events one commit can take with their deliveries; at least one. */
function firstOf(events: readonly NumberedEvent[], webhooks: readonly StoredWebhook[]): number {
  const woken = new Set<StoredWebhook>();
  let keys = 1;
  for (const [i, event] of events.entries()) {
    const receivers = webhooks.filter((to) => isReceiver(to, event));
    for (const to of receivers) woken.add(to);
    keys += 1 + receivers.length;
    if (i > 0 && keys + woken.size > MAX_KEYS) return i;
  }
  return events.length;
}

function pairsOf(events: readonly NumberedEvent[], webhooks: readonly StoredWebhook[]): (readonly [StoredWebhook, NumberedEvent])[] {
  return events.flatMap((event) => webhooks.filter((to) => isReceiver(to, event)).map((to) => [to, event] as const));
}

/** A tenant's webhook gets the events of its tenant, one of the platform all events. No webhook gets events about itself. */
function isReceiver(to: Webhook, { type, tenantId, subject }: NumberedEvent): boolean {
  return (to.tenantId === undefined || to.tenantId === tenantId) && subject !== to.id && isSubscribed(to, type);
}

/** Now, or after the pause of an endpoint that did not respond. */
function dueAt({ dueAt: before, pausedUntil }: Webhook, now: string): string {
  if (pausedUntil !== undefined && pausedUntil > now) return pausedUntil;
  return before !== null && before < now ? before : now;
}
