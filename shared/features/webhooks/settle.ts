import { Collection, type Stored } from "../../core/collection.ts";
import { notesOf } from "../../core/notes.ts";
import type { Transaction, UnitOfWork } from "../../core/unit-of-work.ts";
import type { Mutation } from "../../kv/store.ts";
import { FIRST_INSTANT } from "../events/sequence.ts";
import { type Notice, notify } from "../notifications/notify.ts";
import { delivery, type Webhook, webhook } from "./entity.ts";
import { isActive, settled, type Tally, type Turn } from "./health.ts";

/** Deliveries that one commit marks as failed, and commits of one run. */
const FAILED_TOGETHER = 100;
const MAX_COMMITS = 10;
/** A webhook whose events are numbered at the same time changes often. */
const DECISIONS = 20;

type StoredWebhook = Stored<typeof webhook>;

/**
 * Writes what attempts have made of an endpoint, and when its next delivery is due. Deliveries that are created or replayed meanwhile
 * change the webhook's version: then this is decided again, so no delivery is forgotten.
 */
export async function settle(work: UnitOfWork, key: string, tally: Tally): Promise<void> {
  await work.transact(async () => {
    const [before] = await new Collection(webhook, work.store).getMany([key]);
    if (!before) return { done: {}, resultOf: null };
    const resultOf = before.tenantId ?? null;
    const { after, turn } = settled(before, tally, await nextDueAt(work, before), work.context.clock.now());
    if (tally.lastAt === null && after.dueAt === before.dueAt) return { done: {}, resultOf };
    const change = { entity: webhook, before, after };
    const told = await notify(work, turn === "failing" || turn === "gone" ? [noticeOf(after, turn)] : []);
    return {
      commit: {
        changes: [change, ...told.changes],
        mutations: told.mutations,
        ...announced(change, turn),
        attempts: DECISIONS,
        result: {},
      },
      resultOf,
    };
  });
}

/**
 * Lets nothing be sent to the webhooks before the instant. `settle` ends it earlier, after the requests that are in flight. If their
 * process is killed, it ends by itself.
 */
export async function hold(work: UnitOfWork, keys: readonly string[], until: string): Promise<void> {
  if (keys.length === 0) return;
  const mutations = keys.map((key): Mutation => ({ op: "increment", key, add: [], merge: { dueAt: until, pausedUntil: until } }));
  await work.transact(() => Promise.resolve({ commit: { mutations, audit: "none" as const, result: {} }, resultOf: null }));
}

/** A webhook that is disabled is audited; one that works again is only announced. */
function announced(
  change: { readonly entity: typeof webhook; readonly before: StoredWebhook; readonly after: StoredWebhook },
  turn: Turn | null,
): Pick<Transaction<object>, "audit" | "events"> {
  const { id, disabledReason } = change.after;
  if (turn === null) return { audit: "none" };
  if (turn === "recovered") return { audit: "none", events: [notesOf("webhook.recovered", id, change).event] };
  const reason = { reason: disabledReason ?? turn };
  const { audit, event } = notesOf("webhook.disabled", id, change, { auditData: reason, eventData: reason });
  return { audit: [audit], events: [event] };
}

/** What the owner of a webhook is told when it has been disabled: its tenant, or platform administrators. */
function noticeOf({ tenantId, url }: Webhook, turn: "failing" | "gone"): Notice {
  return {
    tenantId: tenantId ?? null,
    template: turn === "gone" ? "webhook_gone" : "webhook_failing",
    variables: { host: new URL(url).host },
    type: "error",
    priority: "high",
    category: "integrations",
  };
}

async function nextDueAt(work: UnitOfWork, { id }: StoredWebhook): Promise<string | null> {
  return (await waiting(work, id, 1)).at(0)?.nextRetryAt ?? null;
}

/** The deliveries that have another attempt, in its order. */
async function waiting(work: UnitOfWork, webhookId: string, limit: number): Promise<readonly Stored<typeof delivery>[]> {
  const { records } = await new Collection(delivery, work.store).list({
    where: [{ field: "webhookId", in: [webhookId] }, { field: "nextRetryAt", from: FIRST_INSTANT }],
    orderBy: [{ field: "nextRetryAt", direction: "asc" }],
    limit,
  });
  return records;
}

/** The waiting deliveries of a webhook that is no longer active become failed ones, at most 1,000. A replay can send them later. */
export async function failWaiting(work: UnitOfWork, { id }: StoredWebhook): Promise<void> {
  const [webhooks, deliveries] = [new Collection(webhook, work.store), new Collection(delivery, work.store)];
  for (let commits = 0, more = true; more && commits < MAX_COMMITS; commits++) {
    const { result } = await work.transact<{ readonly more: boolean }>(async () => {
      const [current, found] = await Promise.all([webhooks.get(id), waiting(work, id, FAILED_TOGETHER)]);
      const resultOf = current?.tenantId ?? null;
      if (!current || isActive(current) || found.length === 0) return { done: { more: false }, resultOf };
      const merge = { status: "failed", nextRetryAt: null, updatedAt: work.now() };
      const mutations = found.map((one): Mutation => ({ op: "increment", key: deliveries.keyOfRecord(one), add: [], merge }));
      const checks = [{ key: webhooks.key({ id }), version: current.version }];
      return { commit: { checks, mutations, audit: "none", result: { more: found.length === FAILED_TOGETHER } }, resultOf };
    });
    more = result.more;
  }
}
