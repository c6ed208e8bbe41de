import { z } from "zod";
import { byServer, changedInstant, createdInstant, given } from "../../core/fields.ts";
import { ADMIN_ROLES, TENANT_ROLES } from "../../core/scopes.ts";
import { email as address, instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

const TENANT = "tn_1767225600000_a1b2c3d4e5f6";
const language = z.string().max(35);
const LANGUAGE = { description: "The language of the mails, such as `de-AT` (RFC 5646). If there is no text in it: `de`, then `en`." };

export const emailAddress = defineEntity({
  name: "email-address",
  summary: "The address to which one user of one tenant wants notifications.",
  key: "emailaddress:{tenantId}:{userId}",
  schema: z.looseObject({
    tenantId: byServer(segment.meta({ description: "The tenant; `global` for a platform administrator." })),
    userId: byServer(segment.meta({ description: "The id of the user, or its SHA-256 if it is no segment." })),
    subject: byServer(z.string().max(128).meta({ description: "The id of the user as in its token." })),
    address: byServer(address.meta({ description: "From the token with which the user asked for mails." })),
    /** For targets of notifications. */
    role: byServer(z.enum([...new Set([...TENANT_ROLES, ...ADMIN_ROLES])]).optional().meta({ description: "The role of that token." })),
    locale: given(
      language.default("en").meta(LANGUAGE),
      language.regex(/^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$/, "must be a language tag such as en or de-AT").default("en").meta(LANGUAGE),
    ),
    status: byServer(
      z.enum(["active", "bounced"]).meta({ description: "`bounced`: the mailbox does not exist. Nothing is sent to it any more." }),
    ),
    bouncedAt: byServer(instant.optional()),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  platformToo: true,
  filterable: ["tenantId"],
  indexes: [["tenantId"]],
  exported: true,
  personal: ["address"],
  subjects: { userId: "subject", email: "address" },
  example: {
    tenantId: TENANT,
    userId: "user-7",
    subject: "user-7",
    address: "ada@hotel.example",
    role: "owner",
    locale: "de-AT",
    status: "active",
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type EmailAddress = RecordOf<typeof emailAddress>;

/** `withdrawn`: it was no longer needed, because the notification was read or has ended, or the user wants no mails any more. */
export const EMAIL_STATUSES = ["pending", "sent", "bounced", "failed", "withdrawn"] as const;

export const email = defineEntity({
  name: "email",
  summary: "A notification for one user by e-mail. Its text and address are read when it is sent.",
  key: "email:{id}",
  schema: z.looseObject({
    id: segment,
    tenantId: segment.meta({ description: "The tenant; `global` for a platform administrator." }),
    userId: segment,
    notificationTenantId: segment.meta({ description: "The tenant of the notification; `global` for a platform-wide one." }),
    notificationId: segment,
    status: z.enum(EMAIL_STATUSES),
    attempts: z.int().min(0).meta({ description: "Attempts since it was made or tried again." }),
    dueAt: instant.optional().meta({ description: "When the next attempt is due. Absent if there is none." }),
    reason: z.string().max(200).optional().meta({ description: "Why the last attempt failed, or why it was withdrawn." }),
    sentAt: instant.optional(),
    createdAt: instant,
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  platformToo: true,
  retention: { days: 90, after: "createdAt" },
  subjects: { userId: "userId" },
  filterable: ["status", "tenantId", "userId", "notificationId"],
  sortable: ["createdAt", "dueAt"],
  indexes: [["createdAt"], ["dueAt"], ["status", "createdAt"], ["tenantId", "createdAt"]],
  example: {
    id: "email_1767225600000_a1b2c3d4e5f6",
    tenantId: TENANT,
    userId: "user-7",
    notificationTenantId: TENANT,
    notificationId: "notif_1767225600000_a1b2c3d4e5f6",
    status: "sent",
    attempts: 1,
    sentAt: "2026-01-01T00:00:01.000Z",
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Email = RecordOf<typeof email>;

export const mailing = defineEntity({
  name: "mailing",
  summary: "A notification whose mails are not all made yet, and how far the job has come.",
  key: "mailing:{tenantId}:{id}",
  schema: z.looseObject({
    tenantId: segment,
    id: segment.meta({ description: "The id of the notification." }),
    dueAt: instant.meta({ description: "When the notification is shown." }),
    cursor: z.string().max(4_000).optional(),
    createdAt: instant,
  }),
  owner: "tenant",
  platformToo: true,
  retention: { days: 30, after: "dueAt" },
  sortable: ["dueAt"],
  example: {
    tenantId: TENANT,
    id: "notif_1767225600000_a1b2c3d4e5f6",
    dueAt: "2026-01-01T00:00:00.000Z",
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Mailing = RecordOf<typeof mailing>;
