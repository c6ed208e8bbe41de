import { Collection, type Stored } from "../../core/collection.ts";
import { outboxEvent } from "../../core/outbox-event.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { LIMITS } from "../../kv/store.ts";
import { delivery, type Webhook, webhook } from "../webhooks/entity.ts";
import { isActive } from "../webhooks/health.ts";
import { deliveryKey, isSubscribed } from "../webhooks/matching.ts";
import { type Erasure, erasure, type Receipt } from "./entity.ts";

export const ERASED = "subject.erased";
const CHECK_MS = 3_600_000;
/** Deliveries are kept for 30 days. Until then a failed one can be replayed. */
const WAIT_MS = 28 * 86_400_000;
const MAX_ERASURES = 10;

type StoredErasure = Stored<typeof erasure>;

/** When the deliveries of an erasure are looked at next. */
export function nextCheck(nowMs: number): string {
  return isoTime(nowMs + CHECK_MS);
}

/** The erasures whose receipts are due to be looked at. */
export async function waitingErasures({ store, context: { clock } }: UnitOfWork): Promise<StoredErasure[]> {
  const where = [{ field: "checkAt", to: isoTime(clock.now() + 1) }];
  const orderBy = [{ field: "checkAt", direction: "asc" }] as const;
  return (await new Collection(erasure, store).list({ where, orderBy, limit: MAX_ERASURES })).records;
}

/** What each webhook of the platform and of the tenants has answered by now. */
export async function receiptsOf(work: UnitOfWork, { events }: Pick<Erasure, "events">): Promise<Receipt[]> {
  const tenants = events.flatMap(({ tenantId }) => tenantId ?? []);
  const [stored, ...webhooks] = await Promise.all([
    new Collection(outboxEvent, work.store).getMany(events.map(({ id }) => `outbox:${id}`)),
    webhooksOf(work, { scope: null }),
    ...(tenants.length === 0 ? [] : [webhooksOf(work, { where: [{ field: "tenantId", in: tenants }] })]),
  ]);
  const places = webhooks.flat().flatMap((to) => {
    const at = events.findIndex(({ tenantId }) => tenantId === to.tenantId);
    const eventId = events[at]?.id;
    return eventId === undefined ? [] : [{ to, eventId, isNumbered: stored[at]?.seq !== undefined }];
  });
  const keys = places.map(({ to, eventId }) => deliveryKey(to.id, eventId) ?? "");
  const deliveries = await deliveriesOf(work, keys);
  return places.map(({ to, eventId, isNumbered }, i): Receipt => {
    const sent = deliveries[i];
    const of = { webhookId: to.id, ...(to.tenantId === undefined ? {} : { tenantId: to.tenantId }), eventId };
    if (!sent) return { ...of, status: !isNumbered && isActive(to) && isSubscribed(to, ERASED) ? "waiting" : "not_sent" };
    if (sent.status === "success") {
      return { ...of, status: "acknowledged", ...(sent.deliveredAt ? { acknowledgedAt: sent.deliveredAt } : {}) };
    }
    return { ...of, status: sent.status === "pending" ? "waiting" : "failed" };
  });
}

async function webhooksOf({ store }: UnitOfWork, query: object): Promise<readonly Webhook[]> {
  return (await new Collection(webhook, store).list({ ...query, limit: LIMITS.pageEntries })).records;
}

async function deliveriesOf({ store }: UnitOfWork, keys: readonly string[]) {
  const deliveries = new Collection(delivery, store);
  const parts = Array.from({ length: Math.ceil(keys.length / LIMITS.pageEntries) }, (_, i) => (
    deliveries.getMany(keys.slice(i * LIMITS.pageEntries, (i + 1) * LIMITS.pageEntries))
  ));
  return (await Promise.all(parts)).flat();
}

/** Closes the erasure if nothing is waited for any more, and else looks again in an hour. */
export async function checkReceipts(work: UnitOfWork, key: string): Promise<void> {
  await work.transact(async () => {
    const before = await new Collection(erasure, work.store).get(key);
    if (!before || before.status !== "waiting") return { done: {}, resultOf: null };
    const receipts = await receiptsOf(work, before);
    const nowMs = work.context.clock.now();
    const status = statusOf(receipts, nowMs - Date.parse(before.createdAt));
    const { checkAt: _, ...open } = before;
    if (status === "waiting") {
      const later: Change = { entity: erasure, before, after: { ...before, checkAt: nextCheck(nowMs) } };
      return { commit: { changes: [later], audit: "none", result: {} }, resultOf: null };
    }
    const closed: Change = { entity: erasure, before, after: { ...open, status, receipts, closedAt: isoTime(nowMs) } };
    const note = { action: `erasure.${status}`, resource: erasure.name, resourceId: before.id, of: closed };
    return { commit: { changes: [closed], audit: [note], result: {} }, resultOf: null };
  });
}

/** A failed delivery can still be replayed, so it is waited for as well. */
export function statusOf(receipts: readonly Pick<Receipt, "status">[], ageMs: number): Erasure["status"] {
  if (receipts.every(({ status }) => status === "acknowledged" || status === "not_sent")) return "acknowledged";
  return ageMs >= WAIT_MS ? "unacknowledged" : "waiting";
}
