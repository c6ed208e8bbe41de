import { z } from "zod";
import { instant, segment } from "../../core/values.ts";
import { delivery, DISABLED_REASONS, webhook } from "../webhooks/entity.ts";
import { eventsOf, type EventType, eventWithout } from "./event-type.ts";

const { id: DELIVERY, webhookId: WEBHOOK, tenantId: TENANT, eventId: EVENT } = delivery.example;

const reason = z.object({ reason: z.enum(DISABLED_REASONS) }).meta({ examples: [{ reason: "failing" }] });
const exhausted = z.object({
  tenantId: segment.optional(),
  webhookId: segment,
  deliveryId: segment,
  eventId: segment,
  event: z.string().meta({ description: "The type of the event that was not delivered." }),
  attempts: z.int().meta({ description: "The number of attempts." }),
  attempt: z.int().meta({ description: "The number of the last attempt." }),
  at: instant,
  statusCode: z.int().optional().meta({ description: "The HTTP status of the last response. Absent if there was none." }),
  error: z.string().optional(),
  durationMs: z.int().meta({ description: "Of the last attempt, in milliseconds." }),
}).meta({
  examples: [{
    tenantId: TENANT,
    webhookId: WEBHOOK,
    deliveryId: DELIVERY,
    eventId: EVENT,
    event: "tenant.created",
    attempts: 10,
    attempt: 10,
    at: "2026-01-04T04:00:00.000Z",
    statusCode: 500,
    error: "The receiver responded with status 500.",
    durationMs: 84,
  }],
});

/** What becomes of webhooks. An event about a webhook is sent to the others. */
export const deliveryEvents: readonly EventType[] = [
  ...eventsOf(webhook, {
    "webhook.disabled": {
      description: "A webhook was disabled, because it failed for 5 days or responded with status 410.",
      extra: reason,
      example: { enabled: false, status: "failed", disabledReason: "failing", disabledAt: "2026-01-06T00:00:00.000Z" },
    },
    "webhook.recovered": "A webhook has succeeded again, after failures for over a minute or since it was enabled again.",
  }),
  eventWithout("webhook.delivery_exhausted", {
    description: "The last attempt to deliver an event has failed. It can be replayed.",
    data: exhausted,
    subject: WEBHOOK,
  }),
];
