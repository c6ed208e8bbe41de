import { z } from "zod";
import { byServer, changedInstant, createdInstant, given, platformOnly } from "../../core/fields.ts";
import { ADMIN_ROLES, TENANT_ROLES } from "../../core/scopes.ts";
import { instant, segment, webUrl } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

export const TYPES = ["info", "warning", "error", "success"] as const;
export const PRIORITIES = ["low", "medium", "high", "critical"] as const;
export const CATEGORIES = ["general", "usage", "billing", "security", "compliance", "integrations", "maintenance", "product"] as const;
/** `tenants`: the users of tenants. `admins`: platform administrators alone. */
export const AUDIENCES = ["tenants", "admins"] as const;

export type Priority = (typeof PRIORITIES)[number];
export type Category = (typeof CATEGORIES)[number];

const text = (max: number) => given(z.string().min(1).max(max), z.string().trim().min(1).max(max));
const roles = [...new Set([...TENANT_ROLES, ...ADMIN_ROLES])];
const targets = <S extends z.ZodType>(item: S, description: string) => z.array(item).min(1).max(100).optional().meta({ description });
const NARROWS = "A notification reaches those who match all targets that it has.";

export const notification = defineEntity({
  name: "notification",
  summary: "A message to the users of a tenant, or of all tenants.",
  key: "notification:{tenantId}:{id}",
  schema: z.looseObject({
    id: byServer(segment),
    tenantId: byServer(segment.meta({ description: "The tenant; `global` for a platform-wide notification." })),
    title: text(200),
    message: text(4_000).meta({ description: "Plain text." }),
    template: byServer(
      segment.optional().meta({ description: "Of a notification of the program: what it tells. Title and message are its English text." }),
    ),
    variables: byServer(
      z.record(z.string(), z.union([z.string(), z.number()])).optional().meta({ description: "The values in the text of its template." }),
    ),
    type: z.enum(TYPES).default("info"),
    priority: z.enum(PRIORITIES).default("medium").meta({ description: "Nobody can mute a `critical` notification." }),
    category: z.enum(CATEGORIES).default("general"),
    /** What a reader can mute it by. */
    topic: byServer(
      z.enum([...CATEGORIES, "critical"]).default("general").meta({ description: "Its category, or `critical` if its priority is." }),
    ),
    audience: platformOnly(
      z.enum(AUDIENCES).default("tenants").meta({
        description: "Of a platform-wide notification: the users of tenants, or platform administrators alone.",
      }),
    ),
    targetUsers: targets(z.string().min(1).max(128), `Ids of users. ${NARROWS}`),
    targetRoles: targets(z.enum(roles), `Roles. ${NARROWS}`),
    targetPlans: platformOnly(targets(segment, `Plans of tenants. ${NARROWS}`)),
    targetRegions: platformOnly(targets(segment, `Regions of tenants. ${NARROWS}`)),
    actionLabel: text(80).optional(),
    actionUrl: given(z.string().optional(), webUrl.optional()),
    dedupeKey: z.string().min(1).max(200).optional().meta({
      description: "What the notification is about. Another one with the same key in the same period is not created.",
    }),
    dedupeSeconds: z.int().min(60).max(31_536_000).optional().meta({
      description: "The length of the periods of `dedupeKey`, from midnight UTC on 1 January 1970. Default: a day.",
    }),
    publishAt: given(
      instant.meta({ description: "From this instant on it is shown. Default: the present. An earlier instant counts as the present." }),
      instant.optional(),
    ),
    expiresAt: given(
      instant.meta({ description: "From this instant on it is no longer shown. Default: 90 days after `publishAt`." }),
      instant.optional(),
    ),
    createdAt: createdInstant(instant),
  }),
  owner: "tenant",
  platformToo: true,
  readableByTenants: true,
  retention: { days: 1, after: "expiresAt" },
  filterable: ["id", "tenantId", "audience", "type", "priority", "category", "topic", "publishAt", "expiresAt"],
  sortable: ["publishAt", "expiresAt"],
  defaultSort: "-publishAt",
  indexes: [["tenantId", "publishAt"], ["tenantId", "expiresAt"], ["id"]],
  exported: true,
  example: {
    id: "notif_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    title: "80 % of API calls used",
    message: "You have used 400 of the 500 API calls of this month.",
    type: "warning",
    priority: "high",
    category: "usage",
    topic: "usage",
    targetRoles: ["admin", "owner"],
    actionLabel: "See usage",
    actionUrl: "https://app.example.com/usage",
    publishAt: "2026-01-01T00:00:00.000Z",
    expiresAt: "2026-04-01T00:00:00.000Z",
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Notification = RecordOf<typeof notification>;

/** The keys of `inbox` are one family, so that one look-up finds everything that an unread count depends on. */
export const notificationReads = defineEntity({
  name: "notification-reads",
  summary: "What one user of one tenant has read: an instant up to which, and single notifications after it.",
  key: "inbox:{tenantId}:{userId}",
  schema: z.looseObject({
    tenantId: segment,
    userId: segment.meta({ description: "The id of the user, or its SHA-256 if it is no segment." }),
    upTo: instant.optional().meta({ description: "Notifications that were published until then are read." }),
    upToAt: instant.optional().meta({ description: "When they were read, if not recorded below." }),
    read: z.record(segment, z.object({ publishAt: instant, readAt: instant })).default({})
      .meta({ description: "The notifications that were read one by one." }),
    updatedAt: instant,
  }),
  owner: "tenant",
  platformToo: true,
  subjects: { userId: "userId" },
  retention: { days: 400, after: "updatedAt" },
  example: {
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    userId: "user-7",
    upTo: "2026-01-01T00:00:00.000Z",
    upToAt: "2026-01-02T08:00:00.000Z",
    read: {},
    updatedAt: "2026-01-02T08:00:00.000Z",
  },
});

export type NotificationReads = RecordOf<typeof notificationReads>;

/** A category that nobody can mute. */
export const NEVER_MUTED = "security";
/** How notifications reach a user. */
export const CHANNELS = ["inApp", "email"] as const;
export type Channel = (typeof CHANNELS)[number];
const shownIn = {
  inApp: z.boolean().default(true).meta({ description: "Whether lists and counts have them." }),
  email: z.boolean().default(true).meta({ description: "Whether they are sent to your address, if you have given one." }),
};
const PREFERENCES = {
  description: "By category and channel. One that is missing is not muted. `security` and notifications of priority `critical` cannot be.",
  examples: [{ product: { inApp: false } }],
};

export const notificationPreferences = defineEntity({
  name: "notification-preferences",
  summary: "The categories of notifications that one user of one tenant has muted, by channel.",
  key: "inbox:{tenantId}:{userId}:preferences",
  schema: z.looseObject({
    tenantId: byServer(segment),
    userId: byServer(segment.meta({ description: "The id of the user, or its SHA-256 if it is no segment." })),
    categories: given(
      z.partialRecord(z.enum(CATEGORIES), z.object(shownIn)).meta(PREFERENCES),
      z.partialRecord(z.enum(CATEGORIES), z.strictObject(shownIn)).meta(PREFERENCES),
    ),
    updatedAt: changedInstant(instant),
  }),
  owner: "tenant",
  platformToo: true,
  subjects: { userId: "userId" },
  retention: { days: 1_095, after: "updatedAt" },
  example: {
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    userId: "user-7",
    categories: { product: { inApp: false } },
    updatedAt: "2026-01-02T08:00:00.000Z",
  },
});

export type NotificationPreferences = RecordOf<typeof notificationPreferences>;

export const notificationRevision = defineEntity({
  name: "notification-revision",
  summary: "Counts the changes of the notifications of one tenant, or of the platform. A cached unread count belongs to one revision.",
  key: "inbox:{tenantId}",
  schema: z.looseObject({ tenantId: segment, revision: z.int().min(0), updatedAt: instant }),
  owner: "tenant",
  readableByTenants: true,
  frequentUpdates: true,
  example: { tenantId: "tn_1767225600000_a1b2c3d4e5f6", revision: 7, updatedAt: "2026-01-01T00:00:00.000Z" },
});
