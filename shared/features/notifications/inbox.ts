import { Collection, type Stored } from "../../core/collection.ts";
import type { Platform } from "../../core/platform.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors } from "../../kernel/errors.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { GLOBAL, keyOf } from "../../kv/define.ts";
import { isSegment } from "../../kv/key.ts";
import type { Entry } from "../../kv/store.ts";
import { tenant as tenantEntity } from "../tenants/entity.ts";
import { notification, notificationPreferences, type NotificationReads, notificationReads, notificationRevision } from "./entity.ts";
import { mutedBy, type Reader, unreadBy, visibleTo } from "./rules.ts";

/** The most that an unread count counts. */
export const MAX_UNREAD = 1_000;
/** The age of a cached tenant, whose plan and region are compared with targets. */
const MAX_TENANT_AGE_MS = 1_000;
/** Cached unread counts of a process. */
const MAX_COUNTS = 10_000;

/** Whose inbox is read. Default: the caller's own. */
export interface InboxOf {
  readonly tenantId?: string | undefined;
  readonly userId?: string | undefined;
}

/** A reader with what it has read, at the present revisions. One round trip reads it. */
export interface Inbox {
  readonly reader: Reader;
  readonly reads: Stored<typeof notificationReads> | null;
  /** What the reader has read; empty if nothing. */
  readonly known: NotificationReads;
  /** Changes with everything that an unread count depends on, except the time. */
  readonly state: string;
}

/** The parameters of the keys of what a user has in a tenant. Throws `not_found` for a malformed id of a tenant. */
export async function holderOf(tenantId: string, userId: string): Promise<{ readonly tenantId: string; readonly userId: string }> {
  if (!isSegment(tenantId)) throw errors.notFound("tenant", tenantId);
  return { tenantId, userId: isSegment(userId) ? userId : await sha256Hex(userId) };
}

/** A request of a tenant's own caller has read the tenant already. Otherwise the tenant may be a second old. */
async function tenantOf(work: UnitOfWork, id: string): Promise<Stored<typeof tenantEntity> | null> {
  const key = keyOf(tenantEntity, { id });
  if (work.isLoaded(key)) return await new Records(tenantEntity, work).get(key);
  return await work.platform.records.cached(tenantEntity, key, MAX_TENANT_AGE_MS);
}

/** Throws `not_found` if the tenant does not exist. */
export async function openInbox(work: UnitOfWork, { tenantId, userId = work.context.actor.id }: InboxOf): Promise<Inbox> {
  const { tenantId: bound, role } = work.context;
  const of = bound ?? tenantId ?? GLOBAL;
  const holder = await holderOf(of, userId);
  const [readsEntry, preferences, tenant, ownRevision, revision] = await Promise.all([
    work.store.get(keyOf(notificationReads, holder)),
    new Collection(notificationPreferences, work.store).get(keyOf(notificationPreferences, holder)),
    of === GLOBAL ? null : tenantOf(work, of),
    of === GLOBAL ? null : work.store.get(keyOf(notificationRevision, { tenantId: of })),
    work.store.get(keyOf(notificationRevision, { tenantId: GLOBAL })),
  ]);
  if (of !== GLOBAL && !tenant) throw errors.notFound("tenant", of);
  const muted = mutedBy(preferences, "inApp");
  const reader = { tenantId: of, userId, role, plan: tenant?.plan, region: tenant?.region, isPlatform: bound === null, muted };
  const reads = readsEntry && new Collection(notificationReads, work.store).read(readsEntry);
  return {
    reader,
    reads,
    known: reads ?? { ...holder, read: {}, updatedAt: work.now() },
    state: JSON.stringify([reader, versionOf(readsEntry), versionOf(ownRevision), versionOf(revision)]),
  };
}

function versionOf(entry: Entry | null): string | null {
  return entry?.version ?? null;
}

interface Count {
  readonly unread: number;
  /** The first instant at which a notification is published or expires. */
  readonly untilMs: number;
}

/** One cache for each backend, by {@link Inbox.state}. A process has one backend. */
const caches = new WeakMap<Platform, Map<string, Count>>();

/** The number of unread notifications, at most {@link MAX_UNREAD}. Reads nothing if nothing has changed since the last count. */
export async function unreadIn(work: UnitOfWork, { reader, reads, state }: Inbox): Promise<number> {
  const nowMs = work.context.clock.now();
  let cache = caches.get(work.platform);
  if (!cache) caches.set(work.platform, cache = new Map());
  const known = cache.get(state);
  if (known && nowMs < known.untilMs) return known.unread;
  const where = [...visibleTo(reader, nowMs), ...unreadBy(reads)];
  const [unread, untilMs] = await Promise.all([
    work.store.count({ entity: notification, where, upTo: MAX_UNREAD }),
    nextChange(work, reader, nowMs),
  ]);
  if (cache.size >= MAX_COUNTS) cache.delete(cache.keys().next().value ?? "");
  cache.set(state, { unread, untilMs });
  return unread;
}

async function nextChange(work: UnitOfWork, { tenantId }: Reader, nowMs: number): Promise<number> {
  const notifications = new Collection(notification, work.store);
  const own = { field: "tenantId", in: tenantId === GLOBAL ? [GLOBAL] : [tenantId, GLOBAL] };
  const times = await Promise.all((["publishAt", "expiresAt"] as const).map(async (field) => {
    const where = [own, { field, from: isoTime(nowMs + 1) }];
    const { records: [first] } = await notifications.list({ where, orderBy: [{ field, direction: "asc" }], limit: 1 });
    return first ? Date.parse(first[field]) : Infinity;
  }));
  return Math.min(...times);
}
