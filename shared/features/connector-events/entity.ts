import { z } from "zod";
import { byServer } from "../../core/fields.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

/** What a call of another system resulted in. */
export const CALL_OUTCOMES = [
  "ok",
  "invalid_credentials",
  "forbidden",
  "not_found",
  "rate_limited",
  "unreachable",
  "timeout",
  "tls_failed",
  "unexpected",
] as const;
export type CallOutcome = (typeof CALL_OUTCOMES)[number];

export const MAX_LATENCY_MS = 3_600_000;
export const MAX_MESSAGE_BYTES = 4_096;

const actor = z.looseObject({
  type: z.enum(["admin", "user", "api_key", "system"]),
  id: z.string().max(512),
  email: z.string().optional(),
});
const message = z.object({
  bytes: z.int().min(0).meta({ description: "The length of the text in UTF-8." }),
  text: z.string().max(MAX_MESSAGE_BYTES).optional().meta({
    description: `The text, cut after ${MAX_MESSAGE_BYTES} bytes. Present only if the integration's config has \`logMessages: true\`.`,
  }),
}).meta({ description: "The message that was sent." });

export const connectorEvent = defineEntity({
  name: "connector-event",
  summary: "One call of an integration: what was called, by whom, with which outcome, and how long it took.",
  key: "connector:{tenantId}:{timestamp}:{~nonce}",
  schema: z.looseObject({
    id: z.string(),
    tenantId: byServer(segment),
    timestamp: byServer(instant.meta({ description: "The end of the call." })),
    connector: byServer(segment.meta({ description: "The provider, such as `slack`." })),
    action: byServer(z.string().min(1).max(100).meta({ description: "What was done, such as `send_message`." })),
    target: byServer(z.string().min(1).max(512).optional().meta({ description: "What it was done to, such as a channel or a record." })),
    actor: byServer(actor),
    userId: byServer(z.string().max(512).optional().meta({ description: "The actor's id, if the actor is a person." })),
    outcome: byServer(z.enum(CALL_OUTCOMES)),
    statusCode: byServer(z.int().min(100).max(999).optional().meta({ description: "The HTTP status of the response." })),
    latencyMs: byServer(
      z.number().min(0).max(MAX_LATENCY_MS).optional().meta({ description: "How long the call took, in milliseconds." }),
    ),
    message: byServer(message.optional()),
    requestId: byServer(z.string().max(200).optional()),
  }),
  owner: "tenant",
  personal: ["actor"],
  subjects: { userId: "userId" },
  retention: { days: 90, after: "timestamp" },
  filterable: ["connector", "action", "outcome", "timestamp"],
  sortable: ["timestamp", "latencyMs"],
  defaultSort: "-timestamp",
  indexes: [["@tenantId", "timestamp"], ["timestamp"]],
  naturalKey: true,
  exported: true,
  example: {
    id: "connector:tn_1767225600000_a1b2c3d4e5f6:2026-01-01T00:00:00.000Z:a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    timestamp: "2026-01-01T00:00:00.000Z",
    connector: "slack",
    action: "send_message",
    target: "#front-desk",
    actor: { type: "user", id: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11" },
    userId: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11",
    outcome: "ok",
    latencyMs: 182,
    message: { bytes: 5 },
  },
});

export type ConnectorEvent = RecordOf<typeof connectorEvent>;
