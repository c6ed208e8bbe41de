import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, generated, given } from "../../core/fields.ts";
import { sealed } from "../../core/sealed.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { MAX_URL_CHARS } from "../../kernel/web-url.ts";

export const WEBHOOK_STATUSES = ["active", "failed", "disabled"] as const;
export const DISABLED_REASONS = ["by_request", "gone", "failing"] as const;
export const DELIVERY_STATUSES = ["pending", "success", "failed"] as const;
export const MAX_ATTEMPTS_KEPT = 20;
export const RESPONSE_BYTES = 4_096;

const shortText = (max: number) => z.string().trim().min(1).max(max);
const count = (description: string) => z.int().min(0).default(0).meta({ description });

const patterns = z.array(shortText(100)).min(1).max(100).meta({
  description: "The types of events that are sent: names of the catalogue, a group such as `tenant.*`, or `*` for all.",
  examples: [["tenant.*", "invoice.paid"]],
});

const REMINDED = "Days before `secretExpiresAt` for which the reminder was sent or is no longer due. 0 stands for that instant.";

const gap = z.object({
  since: instant.meta({ description: "The first event that failed, or when the webhook was disabled." }),
  failed: z.int().min(0).meta({ description: "Deliveries that failed." }),
  missing: z.int().min(0).meta({ description: "Events that have no delivery." }),
  isComplete: z.boolean().meta({ description: "False if there may be more: only the first ones are counted." }),
});
export type Gap = z.output<typeof gap>;

export const webhook = defineEntity({
  name: "webhook",
  summary: "An endpoint of the platform or of a tenant to which events are sent, signed as Standard Webhooks describe.",
  key: "webhook:{id}",
  schema: z.looseObject({
    /** Ids are unique on the platform, so a chosen one would tell a tenant which ids others have. */
    id: byServer(generated("webhook", segment)),
    tenantId: createOnly(segment.optional()),
    url: z.string().min(1).max(MAX_URL_CHARS).meta({
      format: "uri",
      description: "An https URL. A POST goes to it for every event; redirects are not followed.",
      examples: ["https://example.com/webhooks"],
    }),
    events: patterns,
    withheld: byServer(
      z.array(z.string()).optional().meta({
        description: "Groups of types that are not sent, because whoever set the url or the events must not read them.",
      }),
    ),
    description: given(z.string().max(500).optional(), shortText(500).optional()),
    enabled: z.boolean().default(true).meta({ description: "Whether events are sent. It is false for a failed endpoint too." }),
    payload: z.enum(["full", "thin"]).default("full").meta({ description: "`thin`: the events are sent without their `data`." }),
    maxConcurrency: z.int().min(1).max(16).default(4).meta({ description: "The maximum number of requests at the same time." }),
    maxPerSecond: z.int().min(1).max(1_000).optional().meta({ description: "The maximum number of requests a second." }),
    headerNames: byServer(
      z.array(z.string()).default([]).meta({ description: "The names of the headers that every request has in addition." }),
    ),
    /** `SealedSecrets` of secret.ts. */
    sealedSecret: byServer(sealed),
    secretLast4: byServer(z.string().length(4).meta({ description: "How the secret ends." })),
    secretRotatedAt: byServer(instant.meta({ description: "When the secret was made." })),
    previousSecretExpiresAt: byServer(
      instant.optional().meta({ description: "Until this instant, requests are signed with the secret before the last rotation too." }),
    ),
    secretExpiresAt: byServer(
      instant.meta({ description: "When the secret should have been replaced. Requests are signed with it after this instant too." }),
    ),
    reminded: byServer(z.array(z.int().meta({ description: REMINDED })).default([])),
    /** When the job `webhook-secrets` looks at the webhook. */
    nextCheckAt: byServer(instant.optional()),
    status: byServer(
      z.enum(WEBHOOK_STATUSES).meta({
        description: "`failed`: disabled because its deliveries failed for 5 days. `disabled`: by request, or by an answer 410.",
      }),
    ),
    disabledAt: byServer(instant.optional()),
    disabledReason: byServer(z.enum(DISABLED_REASONS).optional()),
    gap: byServer(
      gap.optional().meta({ description: "What the last time without deliveries left out, counted when the webhook was enabled again." }),
    ),
    /** When its next delivery is due; null if none waits. */
    dueAt: byServer(instant.nullable().default(null)),
    /** Until this instant nothing is sent: its receiver did not respond, or asked for no requests, or a request is still in flight. */
    pausedUntil: byServer(
      instant.optional().meta({
        description: "Until then nothing is sent, because the receiver has not responded, or has asked for a pause.",
      }),
    ),
    /** The length of the last pause for want of a response. The next one is twice as long. */
    pauseSeconds: byServer(z.int().min(1).optional().meta({ description: "The length of the last pause in seconds." })),
    failureCount: byServer(count("Failed attempts since the last success.")),
    failingSince: byServer(instant.nullable().default(null).meta({ description: "The first failed attempt since the last success." })),
    lastDeliveryAt: byServer(instant.optional()),
    lastDeliveryStatus: byServer(z.enum(["success", "failed"]).optional()),
    /** The number of its changes, deliveries not counted. The first part of the version that responses show. */
    revision: byServer(z.int().min(1).default(1).meta({ description: "Increases with each change, but not with deliveries." })),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  filterable: ["status", "enabled", "tenantId"],
  sortable: ["createdAt", "lastDeliveryAt", "dueAt", "nextCheckAt"],
  searchable: ["url", "description"],
  indexes: [["createdAt"], ["@tenantId", "createdAt"], ["tenantId", "status"], ["dueAt"], ["@tenantId", "dueAt"], ["nextCheckAt"]],
  encrypted: ["sealedSecret"],
  exported: true,
  example: {
    id: "webhook_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    url: "https://example.com/webhooks",
    events: ["tenant.*", "invoice.paid"],
    description: "The booking engine",
    enabled: true,
    payload: "full",
    maxConcurrency: 4,
    headerNames: ["x-environment"],
    sealedSecret: { keyId: "0123456789abcdef", wrappedKey: "c2VhbGVk", ciphertext: "c2VhbGVk" },
    secretLast4: "c2U=",
    secretRotatedAt: "2026-01-01T00:00:00.000Z",
    secretExpiresAt: "2027-01-01T00:00:00.000Z",
    nextCheckAt: "2026-12-18T00:00:00.000Z",
    status: "active",
    failureCount: 0,
    lastDeliveryAt: "2026-01-01T00:00:02.000Z",
    lastDeliveryStatus: "success",
    revision: 3,
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Webhook = RecordOf<typeof webhook>;

export const webhookCount = defineEntity({
  name: "webhook-count",
  summary: "The number of webhooks of a tenant, or of the platform. Creations and deletions change it, so it bounds concurrent ones.",
  key: "webhookcount:{holder}",
  schema: z.looseObject({
    /** The tenant, or `global` for the platform, which no tenant's id can be. */
    holder: segment,
    tenantId: segment.optional(),
    count: z.int().min(0),
  }),
  owner: "tenant",
  example: { holder: "tn_1767225600000_a1b2c3d4e5f6", tenantId: "tn_1767225600000_a1b2c3d4e5f6", count: 2 },
});

const attempt = z.object({
  at: instant,
  attempt: z.int().min(1).meta({ description: "1 for the first one. A replay goes on counting." }),
  statusCode: z.int().optional().meta({ description: "The status of the response. Absent if there was none." }),
  error: z.string().max(500).optional().meta({ description: "Why the attempt failed." }),
  durationMs: z.int().min(0).meta({ description: "Milliseconds from the first step to the last byte of the response." }),
});

export const delivery = defineEntity({
  name: "delivery",
  summary: "One event for one webhook, and the attempts to send it. Its body is made from the event.",
  key: "delivery:{webhookId}:{timestamp}:{nonce}",
  schema: z.looseObject({
    id: segment.meta({ description: "The event's id with another prefix: an event has one delivery for each webhook." }),
    webhookId: segment,
    tenantId: segment.optional().meta({ description: "The tenant of the webhook." }),
    timestamp: instant.meta({ description: "When the event happened." }),
    /** The random part of the event's id. */
    nonce: segment,
    eventId: segment,
    event: z.string().meta({ description: "The type of the event." }),
    seq: z.int().min(1).meta({ description: "The number of the event in the feed." }),
    status: z.enum(DELIVERY_STATUSES),
    attemptCount: count("All attempts, those of replays included."),
    attempts: z.array(attempt).default([]).meta({ description: `The last ${MAX_ATTEMPTS_KEPT} attempts.` }),
    responseBody: z.string().max(RESPONSE_BYTES).optional().meta({
      description: "How the body of the last response begins, as text. Shown only to callers who may change webhooks.",
    }),
    nextRetryAt: instant.nullable().meta({ description: "When the next attempt is due. Null if there is none." }),
    /** Attempts of the present round: a replay begins the schedule again. */
    round: count("The attempts since the delivery was created or last replayed."),
    deliveredAt: instant.optional(),
    replays: count("How often the delivery was replayed."),
    createdAt: instant,
    updatedAt: instant.optional(),
  }),
  owner: "tenant",
  retention: { days: 30, after: "createdAt" },
  filterable: ["status", "event", "timestamp", "webhookId"],
  sortable: ["timestamp", "nextRetryAt"],
  defaultSort: "-timestamp",
  indexes: [["webhookId", "timestamp"], ["webhookId", "status", "timestamp"], ["webhookId", "event", "timestamp"], [
    "webhookId",
    "nextRetryAt",
  ]],
  example: {
    id: "delivery_1767225600000_a1b2c3d4e5f6",
    webhookId: "webhook_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    timestamp: "2026-01-01T00:00:00.000Z",
    nonce: "a1b2c3d4e5f6",
    eventId: "evt_1767225600000_a1b2c3d4e5f6",
    event: "tenant.created",
    seq: 17,
    status: "success",
    attemptCount: 1,
    attempts: [{ at: "2026-01-01T00:00:01.000Z", attempt: 1, statusCode: 204, durationMs: 84 }],
    nextRetryAt: null,
    round: 1,
    deliveredAt: "2026-01-01T00:00:01.084Z",
    createdAt: "2026-01-01T00:00:00.900Z",
  },
});

export type Delivery = RecordOf<typeof delivery>;

export const REPLAY_KINDS = ["failed", "missing"] as const;

export const webhookReplay = defineEntity({
  name: "webhook-replay",
  summary: "A request to send the events since an instant again, which the job works off in steps.",
  key: "webhookreplay:{webhookId}:{id}",
  schema: z.looseObject({
    id: generated("replay", segment),
    webhookId: byServer(segment),
    tenantId: byServer(segment.optional().meta({ description: "The tenant of the webhook." })),
    status: byServer(
      z.enum(["running", "completed", "cancelled", "failed"]).meta({ description: "`cancelled`: the webhook was disabled meanwhile." }),
    ),
    error: byServer(z.string().optional().meta({ description: "The code of the error that ended a failed one." })),
    kind: createOnly(
      z.enum(REPLAY_KINDS).meta({
        description: "`failed`: the deliveries that failed or wait for another attempt. `missing`: the events that have no delivery, as " +
          "before the webhook was made.",
      }),
    ),
    since: createOnly(instant.meta({ description: "Events that happened at this instant or later." })),
    /** Where the next step goes on. */
    cursor: byServer(z.string().max(4_000).optional()),
    examined: byServer(count("Deliveries or events that were looked at.")),
    replayed: byServer(count("Deliveries that are sent again or for the first time.")),
    /** Null when it is finished. */
    dueAt: byServer(instant.nullable()),
    requestedBy: byServer(z.string().optional()),
    completedAt: byServer(instant.optional()),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  userIds: ["requestedBy"],
  retention: { days: 30, after: "createdAt" },
  filterable: ["status", "webhookId"],
  sortable: ["createdAt", "dueAt"],
  indexes: [["webhookId", "createdAt"], ["dueAt"]],
  example: {
    id: "replay_1767225600000_a1b2c3d4e5f6",
    webhookId: "webhook_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    status: "running",
    kind: "failed",
    since: "2026-01-01T00:00:00.000Z",
    examined: 200,
    replayed: 200,
    dueAt: "2026-01-02T00:00:00.000Z",
    createdAt: "2026-01-02T00:00:00.000Z",
  },
});

export type WebhookReplay = RecordOf<typeof webhookReplay>;
