import { z } from "zod";
import { inputsOf } from "../../core/fields.ts";
import { flag, listArguments, listQuery } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { component, exampleOf, pagination, recordOf } from "../../core/schemas.ts";
import { instant, segment } from "../../core/values.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { CATEGORIES, CHANNELS, NEVER_MUTED, notification, notificationPreferences } from "./entity.ts";
import { NotificationService } from "./service.ts";

const path = "/v1/notifications";
const tenantId = z.string().transform(shortTenantId).pipe(segment).optional()
  .meta({ description: "The tenant's id, short or as its full key. Without it, a platform caller gets the platform-wide notifications." });
const ofTenant = z.strictObject({ tenantId });

const view = component(
  "NotificationView",
  (recordOf(notification) as unknown as z.ZodObject).extend({
    tenantId: segment.optional().meta({ description: "Absent for a platform-wide notification." }),
    read: z.boolean().meta({ description: "Whether you have read it." }),
    readAt: instant.optional().meta({ description: "When you first read it." }),
    readBy: z.array(z.string()).meta({ description: "Your id, if you have read it." }),
  }),
  () => ({ ...exampleOf(recordOf(notification)) as object, read: false, readBy: [] }),
);
const unread = z.int().min(0).meta({ description: "The number of your unread notifications, at most 1,000." });
const page = component(
  "NotificationViewPage",
  z.object({ data: z.array(view), pagination, unread }),
  () => ({
    data: [exampleOf(view)],
    pagination: { page: 1, limit: 20, total: 1, totalPages: 1, hasPrev: false, hasNext: false },
    unread: 1,
  }),
);
const own = "The marks are your own: another user, and you in another tenant, have others.";

const channels = z.object({ inApp: z.boolean(), email: z.boolean() });
const preferences = component(
  "NotificationPreferencesView",
  z.object({
    categories: z.object(Object.fromEntries(CATEGORIES.map((category) => [category, channels]))),
    channels: z.array(z.enum(CHANNELS)).meta({ description: "The channels that there are. Without a mail server, there is no e-mail." }),
    version: z.string().nullable().meta({ description: "As in the ETag; null if you have stored none." }),
  }),
  () => ({
    categories: Object.fromEntries(CATEGORIES.map((category) => [category, { inApp: category !== "product", email: true }])),
    channels: [...CHANNELS],
    version: "42",
  }),
);

const MUTABLE = CATEGORIES.filter((category) => category !== NEVER_MUTED);

/** Reading and marking need no more than `read:notifications`. */
export const routes: readonly Route[] = [
  verb(`GET ${path}`, {
    service: NotificationService,
    operationId: "listNotifications",
    summary: "List your notifications",
    description: "The notifications that are shown now, the newest first: those of the tenant and those of the platform.",
    scope: "read:notifications",
    query: listQuery(notification).safeExtend({
      tenantId,
      unread: flag.optional().meta({ description: "`true`: only those that you have not read." }),
      scheduled: flag.optional().meta({ description: "`true`: those that are published later, for callers with `write:notifications`." }),
    }),
    output: page,
    run: async ({ service, query: { tenantId: _, unread, scheduled, ...query }, tenantId, caller }) => {
      const [filters, sort, paging] = listArguments(query as Parameters<typeof listArguments>[0]);
      const options = { unread, scheduled: scheduled && caller.scopes.has("write:notifications") };
      return await service.list(tenantId ?? undefined, paging, filters, sort, options) as never;
    },
  }),
  verb(`POST ${path}`, {
    service: NotificationService,
    operationId: "createNotification",
    summary: "Notify the users of a tenant, or of all tenants",
    description: "Without `tenantId`, a platform caller notifies all tenants. With a `dedupeKey`, a repeat in the same period returns " +
      "the first notification.",
    scope: "write:notifications",
    input: inputsOf(notification).create.extend({ tenantId }),
    output: view,
    location: ({ id }) => `${path}/${String(id)}`,
    sample: {
      body: (n) => ({ title: `Maintenance ${n}`, message: "The platform is read-only from 02:00 to 03:00 UTC.", category: "maintenance" }),
    },
    run: async ({ service, body: { tenantId: named, ...body }, tenantId, options }) => {
      const of = named as string | undefined ?? tenantId ?? undefined;
      return await service.create(body as never, of, options) as never;
    },
  }),
  verb(`GET ${path}/unread-count`, {
    service: NotificationService,
    operationId: "countUnreadNotifications",
    summary: "Count your unread notifications",
    scope: "read:notifications",
    query: ofTenant,
    output: component("UnreadCount", z.object({ unread }), () => ({ unread: 3 })),
    run: async ({ service, tenantId }) => ({ unread: await service.unreadCount(tenantId ?? undefined) }),
  }),
  verb(`POST ${path}/read-all`, {
    service: NotificationService,
    operationId: "markAllNotificationsRead",
    summary: "Mark all your notifications as read",
    description: own,
    scope: "read:notifications",
    query: ofTenant,
    output: component(
      "NotificationsRead",
      z.object({ marked: unread.meta({ description: "The number of those that were unread, at most 1,000." }) }),
      () => ({ marked: 3 }),
    ),
    sample: { auditEntries: 0 },
    run: async ({ service, tenantId, options }) => ({ marked: await service.markAllAsRead(tenantId ?? undefined, undefined, options) }),
  }),
  verb(`GET ${path}/preferences`, {
    service: NotificationService,
    operationId: "getNotificationPreferences",
    summary: "Get your preferences for notifications",
    scope: "read:notifications",
    query: ofTenant,
    output: preferences,
    run: async ({ service, tenantId }) => await service.preferences(tenantId ?? undefined) as never,
  }),
  verb(`PUT ${path}/preferences`, {
    service: NotificationService,
    operationId: "putNotificationPreferences",
    summary: "Replace your preferences for notifications",
    description:
      "A muted category is left out of your lists and counts, or not sent to you. `security` cannot be muted, and notifications of priority " +
      "`critical` are shown in spite of it.",
    scope: "read:notifications",
    query: ofTenant,
    input: inputsOf(notificationPreferences).create,
    output: preferences,
    // Each call changes something: its number in binary.
    sample: { body: (n) => ({ categories: Object.fromEntries(MUTABLE.map((category, i) => [category, { inApp: (n >> i) % 2 === 0 }])) }) },
    run: async ({ service, body, tenantId, options }) =>
      await service.putPreferences(body as never, tenantId ?? undefined, options) as never,
  }),
  verb(`GET ${path}/:notificationId`, {
    service: NotificationService,
    operationId: "getNotification",
    takesKeyOf: notification,
    summary: "Get a notification",
    scope: "read:notifications",
    query: ofTenant,
    output: view,
    run: async ({ service, params, tenantId }) => await service.get(params.notificationId, { tenantId: tenantId ?? undefined }) as never,
  }),
  verb(`DELETE ${path}/:notificationId`, {
    service: NotificationService,
    operationId: "deleteNotification",
    takesKeyOf: notification,
    summary: "Withdraw a notification",
    description: "Nobody sees it any more. A tenant can withdraw its own.",
    scope: "write:notifications",
    query: ofTenant,
    run: async ({ service, params, tenantId, options }) => await service.delete(params.notificationId, options, tenantId ?? undefined),
  }),
  verb(`POST ${path}/:notificationId/read`, {
    service: NotificationService,
    operationId: "markNotificationRead",
    takesKeyOf: notification,
    summary: "Mark a notification as read",
    description: `${own} The first time is kept.`,
    scope: "read:notifications",
    query: ofTenant,
    resource: "notification",
    output: view,
    sample: { auditEntries: 0 },
    run: async ({ service, params, tenantId, options }) =>
      await service.markAsRead(params.notificationId, undefined, { ...options, tenantId: tenantId ?? undefined }) as never,
  }),
];
