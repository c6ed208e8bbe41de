import { z } from "zod";
import { instant } from "../../core/values.ts";
import { webhook } from "../webhooks/entity.ts";
import { eventsOf, type EventType } from "./event-type.ts";

const expiring = z.object({ daysLeft: z.int().meta({ description: "14, 7 or 1." }), secretExpiresAt: instant })
  .meta({ examples: [{ daysLeft: 7, secretExpiresAt: "2027-01-01T00:00:00.000Z" }] });
const expired = z.object({ secretExpiresAt: instant }).meta({ examples: [{ secretExpiresAt: "2027-01-01T00:00:00.000Z" }] });
const retired = z.object({ endedAt: instant }).meta({ examples: [{ endedAt: "2026-01-02T00:00:00.000Z" }] });

/** Webhooks. Events about a webhook are not sent to the webhook itself. */
export const webhookEvents: readonly EventType[] = eventsOf(webhook, {
  "webhook.created": "A webhook was created.",
  "webhook.updated": "A webhook was changed.",
  "webhook.deleted": "A webhook was deleted with its deliveries.",
  "webhook.enabled": "Events are sent again to a webhook that was disabled or had failed.",
  "webhook.secret_rotated": "The secret of a webhook was replaced.",
  "webhook.secret_retired": { description: "Requests are no longer signed with the former secret of a webhook.", extra: retired },
  "webhook.secret_expiring": { description: "The secret of a webhook should be replaced soon.", extra: expiring },
  "webhook.secret_expired": { description: "The secret of a webhook is a year old. Requests are still signed with it.", extra: expired },
});
