import { z } from "zod";
import { instant, segment } from "../../core/values.ts";
import { admin } from "../admins/entity.ts";
import { apiKey } from "../api-keys/entity.ts";
import { flag, flagOverride } from "../flags/entity.ts";
import { auditAction } from "../audit-actions/entity.ts";
import { auditSink } from "../audit-sinks/entity.ts";
import { deadLetter } from "../jobs/entity.ts";
import { notification, notificationPreferences } from "../notifications/entity.ts";
import { policy } from "../retention/entity.ts";
import { platformSettings } from "../settings/entity.ts";
import { tenant } from "../tenants/entity.ts";
import { due, dunned, entitled } from "./catalogue-billing.ts";
import { eventsOf, type EventType, eventWithout } from "./event-type.ts";

const { id: TENANT } = tenant.example;
const removed = z.object({ tenantId: segment, name: z.string() }).meta({ examples: [{ tenantId: TENANT, name: tenant.example.name }] });
const refused = z.object({
  asked: z.string().meta({ description: "The tenant that the request named." }),
  keyTenantId: segment.optional().meta({ description: "The tenant of the key." }),
}).meta({ examples: [{ asked: "tn_1767225600000_f6e5d4c3b2a1", keyTenantId: TENANT }] });
const expiring = z.object({ daysLeft: z.int().meta({ description: "14, 7 or 1." }), expiresAt: instant })
  .meta({ examples: [{ daysLeft: 7, expiresAt: "2026-01-08T00:00:00.000Z" }] });
const expired = z.object({ expiresAt: instant }).meta({ examples: [{ expiresAt: "2026-01-01T00:00:00.000Z" }] });
const unused = z.object({
  reason: z.enum(["unused"]),
  unusedSince: instant,
  days: z.int().meta({ description: "The days without a use after which the key is disabled." }),
})
  .meta({ examples: [{ reason: "unused", unusedSince: "2025-10-03T00:00:00.000Z", days: 90 }] });
const retired = z.object({ last4: z.string() }).meta({ examples: [{ last4: "x7Qa" }] });

/** Tenants, administrators, API keys, flags and the operation of the platform. */
export const platformEvents: readonly EventType[] = [
  ...eventsOf(tenant, {
    "tenant.created": { description: "A tenant was created, with its subscription, entitlements and usage records.", extra: entitled },
    "tenant.updated": { description: "A tenant was changed.", extra: due },
    "tenant.suspended": {
      description: "A tenant was suspended. Its users are refused, but for reads of its billing.",
      extra: dunned,
      example: { status: "suspended", suspensionReason: "Payment overdue" },
    },
    "tenant.unsuspended": { description: "The suspension of a tenant was lifted.", extra: due },
    "tenant.cancelled": { description: "A tenant was cancelled.", extra: entitled, example: { status: "cancelled" } },
    "tenant.reactivated": { description: "A cancelled tenant is active again.", extra: entitled },
  }),
  eventWithout("tenant.deleted", {
    description: "A tenant and everything it owned was deleted.",
    data: removed,
    subject: TENANT ?? "",
  }),
  ...eventsOf(notificationPreferences, {
    "notification-preferences.created": "A user has stored preferences for notifications.",
    "notification-preferences.updated": "A user has changed its preferences for notifications.",
  }),
  ...eventsOf(notification, {
    "notification.created": "A notification was created by a caller. Those of the program follow from other events, such as `usage.alert`.",
    "notification.deleted": "A notification was withdrawn.",
  }),
  ...eventsOf(admin, {
    "admin.bootstrapped": "The first administrator was created.",
    "admin.created": "An administrator was added.",
    "admin.updated": "An administrator was changed.",
    "admin.signed_in": "An administrator has signed in.",
    "admin.deleted": "An administrator was removed.",
  }),
  ...eventsOf(platformSettings, {
    "platform-settings.updated": "The platform's settings were changed.",
    "platform-settings.reverted": "A change of the platform's settings was reverted.",
  }),
  ...eventsOf(apiKey, {
    "api-key.created": "An API key was created.",
    "api-key.updated": "An API key was changed.",
    "api-key.rotated": "The secret of an API key was replaced.",
    "api-key.secret_retired": { description: "The former secret of an API key is no longer valid.", extra: retired },
    "api-key.rehashed": "The hash of an API key was renewed under the server's present key.",
    "api-key.expiring": { description: "An API key expires soon.", extra: expiring },
    "api-key.expired": { description: "An API key has expired.", extra: expired },
    "api-key.disabled": { description: "An API key was disabled, because nobody has used it.", extra: unused, example: { enabled: false } },
    "api-key.revoked": { description: "An API key was revoked.", example: { enabled: false, revokedAt: "2026-01-01T00:00:00.000Z" } },
  }),
  eventWithout("api-key.refused", {
    description: "An API key of a tenant was used for another tenant.",
    data: refused,
    subject: String(apiKey.example.id),
  }),
  ...eventsOf(flag, {
    "flag.created": "A feature flag was created.",
    "flag.updated": "A feature flag was changed.",
    "flag.deleted": "A feature flag was deleted with its overrides.",
  }),
  ...eventsOf(flagOverride, {
    "flag-override.created": "A feature flag was set for one tenant.",
    "flag-override.updated": "The setting of a feature flag for one tenant was changed.",
    "flag-override.deleted": "The setting of a feature flag for one tenant was removed.",
  }),
  ...eventsOf(policy, {
    "policy.created": "A retention policy was created.",
    "policy.updated": "A retention policy was changed.",
    "policy.deleted": "A retention policy was deleted.",
  }),
  ...eventsOf(auditAction, {
    "audit-action.created": "An action of audit entries was declared.",
    "audit-action.updated": "The declaration of an action of audit entries was changed.",
    "audit-action.deleted": "The declaration of an action of audit entries was deleted.",
  }),
  ...eventsOf(auditSink, {
    "audit-sink.created": "A receiver of audit entries was added.",
    "audit-sink.updated": "A receiver of audit entries was changed.",
    "audit-sink.deleted": "A receiver of audit entries was removed.",
  }),
  ...eventsOf(deadLetter, {
    "dead-letter.requeued": "An item that a job could not handle is tried again.",
    "dead-letter.dropped": { description: "An item that a job could not handle was given up.", example: { status: "dropped" } },
  }),
];
