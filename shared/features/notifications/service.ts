import { Collection, type Stored } from "../../core/collection.ts";
import type { CreateInput } from "../../core/fields.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import { Records } from "../../core/records.ts";
import type { Decision, UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { assertMatch, type ChangeOptions } from "../../kernel/version.ts";
import { GLOBAL, keyOf } from "../../kv/define.ts";
import { isSegment, RESERVED_TENANT_IDS } from "../../kv/key.ts";
import { shortTenantId, tenant } from "../tenants/entity.ts";
import { type Notification, notification, type NotificationReads, notificationReads } from "./entity.ts";
import { holderOf, type Inbox, type InboxOf, openInbox, unreadIn } from "./inbox.ts";
import { counted, mailed, newNotification } from "./notify.ts";
import { type PreferencesInput, preferencesOf, type PreferencesView, putPreferences } from "./preferences.ts";
import { addressedTo, COMMIT_MS, isAddressedTo, readAtOf, unreadBy, visibleTo, withAllRead, withRead } from "./rules.ts";

type StoredNotification = Stored<typeof notification>;
export type NotificationCreate = CreateInput<typeof notification>;

/** A notification as a user sees it. `tenantId` is absent for a platform-wide one. */
export type NotificationView = { readonly [F in keyof StoredNotification as F extends "tenantId" ? never : F]: StoredNotification[F] } & {
  readonly tenantId?: string;
  readonly read: boolean;
  /** When the user first read it. */
  readonly readAt?: string;
  /** The user, if it has read the notification. */
  readonly readBy: readonly string[];
};

export type NotificationPage = Page<NotificationView> & { readonly unread: number };

export interface ListOptions extends InboxOf {
  readonly unread?: boolean | undefined;
  /** Those that are published later, instead of those that are shown now. */
  readonly scheduled?: boolean | undefined;
}

/** A browser can mark many notifications at the same time. */
const ATTEMPTS = 20;

/** Notifications of tenants and of the platform, and what each user has read of them. */
export class NotificationService {
  readonly #records: Records<typeof notification>;

  constructor(private readonly work: UnitOfWork) {
    this.#records = new Records(notification, work);
  }

  /**
   * What a user sees in a tenant, or without a tenant a platform caller among the platform-wide notifications, the newest first, with
   * the number of unread ones. Throws `not_found` if the tenant does not exist.
   */
  async list(
    tenantId?: string,
    pagination?: Pagination,
    filters: Filters = {},
    sort?: Sort,
    { unread, scheduled, userId }: ListOptions = {},
  ): Promise<NotificationPage> {
    const inbox = await this.#open(tenantId, userId);
    const nowMs = this.work.context.clock.now();
    const { where = [], search } = selectionOf(notification, filters);
    const own = scheduled
      ? [...addressedTo(inbox.reader), { field: "publishAt", from: isoTime(nowMs + 1), moving: true as const }]
      : visibleTo(inbox.reader, nowMs);
    const request = { where: [...own, ...unread ? unreadBy(inbox.reads) : [], ...where], search, sort, pagination };
    const [page, count] = await Promise.all([listPage(this.#records, request), unreadIn(this.work, inbox)]);
    return { ...page, data: page.data.map((one) => viewOf(one, inbox)), unread: count };
  }

  /** By short id or full key. Null if there is none, or none that the caller sees. */
  async get(id: string, { tenantId, userId }: InboxOf = {}): Promise<NotificationView | null> {
    const found = await this.#find(id, tenantId, userId);
    return found && viewOf(found.one, found.inbox);
  }

  /** The number of unread notifications, at most 1,000. Throws `not_found` if the tenant does not exist. */
  async unreadCount(tenantId?: string, userId?: string): Promise<number> {
    return await unreadIn(this.work, await this.#open(tenantId, userId));
  }

  /**
   * Notifies a tenant, or without one all tenants. With a `dedupeKey`, returns the notification of the present period if there is one.
   * Throws `validation_failed`, `forbidden`, `not_found`.
   */
  async create(data: NotificationCreate, tenantId?: string, options: ChangeOptions = {}): Promise<NotificationView> {
    const input = this.#records.checkCreate(data);
    const of = await this.#tenantOf(tenantId);
    const request = { ...input, tenantId: of } as JsonObject;
    const record = input["dedupeKey"] === undefined
      ? await this.#records.create("notification.created", () => this.#decided(request), options, request)
      : (await this.#putOnce(request, options)).record;
    return viewOf(record, null);
  }

  /** Withdraws the notification. Returns whether it existed. */
  async delete(id: string, options: ChangeOptions = {}, tenantId?: string): Promise<boolean> {
    const found = await this.#entryOf(id, tenantId);
    // Also without one: a repeat with the idempotency key gets the recorded result.
    const key = found?.key ?? (isSegment(id) ? keyOf(notification, { tenantId: tenantId ?? GLOBAL, id }) : id);
    const deleted = await this.#records.remove(key, options, "notification.deleted", (before) => {
      const { tenantId: bound } = this.work.context;
      if (bound !== null && before.tenantId !== bound) {
        throw new InnkeepError("forbidden", "Only the platform can withdraw this notification.");
      }
      return { mutations: [counted(this.work, before.tenantId)] };
    });
    return deleted !== null;
  }

  /** Marks the notification as read by the user. The first time is kept. Null if there is none that the user sees. */
  async markAsRead(
    id: string,
    userId?: string,
    { tenantId, ...options }: ChangeOptions & Pick<InboxOf, "tenantId"> = {},
  ): Promise<NotificationView | null> {
    const result = await this.#mark<{ readonly view: NotificationView | null }>(options, { id, userId: userId ?? null }, async () => {
      const found = await this.#find(id, tenantId, userId);
      if (!found) return { done: { view: null }, isFailure: true };
      const { one, inbox } = found;
      const before = viewOf(one, inbox);
      assertMatch(before.version, options);
      const after = withRead(inbox.known, [one], this.work.now());
      const view = viewOf(one, { ...inbox, known: after });
      return this.#marked(inbox, after, { view });
    });
    return result.view;
  }

  /** Marks everything that the user sees now as read, and returns the number of notifications that were unread, at most 1,000. */
  async markAllAsRead(tenantId?: string, userId?: string, options: ChangeOptions = {}): Promise<number> {
    const request = { tenantId: tenantId ?? null, userId: userId ?? null };
    const result = await this.#mark<{ readonly marked: number }>(options, request, async () => {
      const inbox = await this.#open(tenantId, userId);
      const nowMs = this.work.context.clock.now();
      const where = [...visibleTo(inbox.reader, nowMs), ...unreadBy(inbox.reads)];
      const [marked, { records }] = await Promise.all([
        unreadIn(this.work, inbox),
        // One that is being committed at this moment is not read yet. The newest get marks, and the bound stays behind.
        this.#records.list({ where, orderBy: [{ field: "publishAt", direction: "desc" }], limit: 500 }),
      ]);
      const after = marked === 0 ? inbox.known : withAllRead(
        inbox.known,
        records,
        isoTime(Math.max(nowMs - COMMIT_MS, Date.parse(records.at(499)?.publishAt ?? "") || 0)),
        this.work.now(),
      );
      return this.#marked(inbox, after, { marked });
    });
    return result.marked;
  }

  /** A user's preferences in a tenant. Throws `not_found` if the tenant does not exist. */
  async preferences(tenantId?: string, userId?: string): Promise<PreferencesView> {
    return await preferencesOf(this.work, await this.#holder(tenantId, userId));
  }

  /** Replaces a user's preferences in a tenant. Throws `validation_failed`, `not_found`. */
  async putPreferences(data: PreferencesInput, tenantId?: string, options: ChangeOptions = {}, userId?: string): Promise<PreferencesView> {
    return await putPreferences(this.work, await this.#holder(tenantId, userId), data, options);
  }

  async #holder(tenantId: string | undefined, userId = this.work.context.actor.id) {
    return await holderOf(await this.#tenantOf(tenantId), userId);
  }

  async #mark<R extends object>(
    { idempotencyKey }: ChangeOptions,
    request: JsonObject,
    decide: () => Promise<Decision<R>>,
  ): Promise<R> {
    const keyed = idempotencyKey === undefined ? undefined : { operation: "notification.read", key: idempotencyKey, request };
    return (await this.work.transact(decide, keyed)).result;
  }

  #marked<R extends object>({ reader, reads, known }: Inbox, after: NotificationReads, result: R): Decision<R> {
    const resultOf = reader.tenantId === GLOBAL ? null : reader.tenantId;
    if (after === known) return { done: result, resultOf };
    const changes = [{ entity: notificationReads, before: reads, after }];
    return { commit: { changes, audit: "none", attempts: ATTEMPTS, result }, resultOf };
  }

  async #decided(request: JsonObject) {
    const record = await newNotification(this.work, request);
    return { record, mutations: [counted(this.work, record.tenantId), ...mailed(this.work, record)] };
  }

  async #putOnce(request: JsonObject, options: ChangeOptions) {
    const { id, tenantId } = await newNotification(this.work, request);
    return await this.#records.put(keyOf(notification, { tenantId, id }), options, async (before) => ({
      action: "notification.created",
      ...before ? { record: before } : await this.#decided({ ...request, id }),
    }), request);
  }

  async #open(tenantId: string | undefined, userId: string | undefined): Promise<Inbox> {
    const given = tenantId === undefined ? undefined : shortTenantId(tenantId);
    const { tenantId: bound } = this.work.context;
    if (bound !== null && given !== undefined && given !== bound) throw errors.notFound("tenant", given);
    return await openInbox(this.work, { tenantId: given, userId });
  }

  /** A notification that the reader sees, and the inbox. A tenant's own author sees its scheduled ones too. */
  async #find(id: string, tenantId: string | undefined, userId: string | undefined) {
    const { tenantId: bound, scopes } = this.work.context;
    const holder = bound ?? (tenantId === undefined ? undefined : shortTenantId(tenantId));
    const [entry, opened] = await Promise.all([this.#entryOf(id, holder), holder === undefined ? null : this.#open(holder, userId)]);
    if (!entry) return null;
    const one = this.#records.read(entry);
    const inbox = opened ?? await this.#open(one.tenantId === GLOBAL ? undefined : one.tenantId, userId);
    if (!isAddressedTo(one, inbox.reader)) return null;
    const now = this.work.now();
    const isShown = one.publishAt <= now && now < one.expiresAt;
    return isShown || bound === null || scopes?.has("write:notifications") ? { one, inbox } : null;
  }

  async #entryOf(id: string, tenantId: string | undefined) {
    const { store, context } = this.work;
    const prefix = "notification:";
    if (id.startsWith(prefix)) {
      const [of = "", own = "", ...more] = id.slice(prefix.length).split(":");
      return more.length === 0 && isSegment(of) && isSegment(own) ? await store.get(id) : null;
    }
    if (!isSegment(id)) return null;
    const holder = context.tenantId ?? tenantId;
    if (holder === undefined) {
      return (await store.query({ entity: notification, where: [{ field: "id", in: [id] }], orderBy: [], limit: 1 })).entries[0] ?? null;
    }
    if (!isSegment(holder)) return null;
    return (await store.mget([holder, GLOBAL].map((of) => keyOf(notification, { tenantId: of, id })))).find((entry) => entry !== null) ??
      null;
  }

  /** The tenant of a new notification. Throws `not_found` for one that does not exist, or that is not the caller's. */
  async #tenantOf(given: string | undefined): Promise<string> {
    const { tenantId: bound } = this.work.context;
    const asked = given === undefined ? undefined : shortTenantId(given);
    if (asked === undefined || asked === bound) return bound ?? GLOBAL;
    if (bound !== null) throw errors.otherTenant(asked);
    if (!isSegment(asked) || RESERVED_TENANT_IDS.has(asked)) throw errors.notFound("tenant", asked);
    if (await this.work.read(new Collection(tenant, this.work.store).key({ id: asked })) === null) throw errors.notFound("tenant", asked);
    return asked;
  }
}

/** A user's mark makes another version: what the user gets is another record. */
function viewOf(one: StoredNotification, inbox: Pick<Inbox, "reader" | "known"> | null): NotificationView {
  const { tenantId, version, ...shown } = one;
  const readAt = inbox && readAtOf(one as Notification, inbox.known);
  return {
    ...shown,
    ...tenantId === GLOBAL ? {} : { tenantId },
    read: readAt !== null,
    ...readAt === null ? {} : { readAt },
    readBy: inbox && readAt !== null ? [inbox.reader.userId] : [],
    version: readAt === null ? version : `${version}-read`,
  } as unknown as NotificationView;
}
