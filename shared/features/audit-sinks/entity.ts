import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, generated } from "../../core/fields.ts";
import { sealed } from "../../core/sealed.ts";
import { instant, segment } from "../../core/values.ts";
import { MAX_URL_CHARS } from "../../kernel/web-url.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

export const SINK_KINDS = ["splunk", "datadog", "http"] as const;

export const auditSink = defineEntity({
  name: "audit-sink",
  summary: "A receiver, such as a SIEM, to which audit entries are sent.",
  key: "auditsink:{id}",
  schema: z.looseObject({
    id: byServer(generated("sink", segment)),
    name: z.string().min(1).max(200),
    kind: z.enum(SINK_KINDS).meta({
      description: "`splunk`: the HTTP Event Collector. `datadog`: the Logs API. `http`: any other receiver of JSON.",
    }),
    url: z.string().min(1).max(MAX_URL_CHARS).meta({
      format: "uri",
      description: "An https URL. Redirects are not followed.",
      examples: ["https://splunk.example.com/services/collector/event"],
    }),
    tenantId: createOnly(
      segment.optional().meta({
        description: "Only the entries of this tenant. Without it, the entries of all tenants and of the platform.",
      }),
    ),
    enabled: z.boolean().default(true),
    sealedToken: byServer(sealed),
    tokenLast4: byServer(z.string().length(4).meta({ description: "How the token ends." })),
    position: byServer(
      z.looseObject({
        seq: z.int().min(0).meta({ description: "Its position in its chain. It counts for the entries of one tenant." }),
        timestamp: instant,
        key: z.string(),
      }).meta({ description: "The last entry that was sent, else where the receiver begins." }),
    ),
    /** When the job sends next; null while it is disabled. */
    dueAt: byServer(instant.nullable().default(null)),
    sentEntries: byServer(z.int().min(0).default(0).meta({ description: "Entries that the receiver has accepted." })),
    lastSentAt: byServer(instant.optional().meta({ description: "When the receiver last accepted entries." })),
    behindSince: byServer(
      instant.optional().meta({
        description: "The time of the oldest entry that the last attempt has not delivered. Absent if there was none.",
      }),
    ),
    failures: byServer(z.int().min(0).default(0).meta({ description: "Failed attempts since the last success." })),
    lastError: byServer(z.string().max(500).optional().meta({ description: "Why the last attempt has failed. Absent after a success." })),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  // Not the tenant's: it outlives the tenant until it has sent the entry of the deletion.
  owner: "platform",
  filterable: ["kind", "enabled", "tenantId"],
  sortable: ["createdAt", "dueAt"],
  searchable: ["name", "url"],
  indexes: [["createdAt"], ["dueAt"]],
  encrypted: ["sealedToken"],
  example: {
    id: "sink_1767225600000_a1b2c3d4e5f6",
    name: "Security team",
    kind: "splunk",
    url: "https://splunk.example.com/services/collector/event",
    enabled: true,
    sealedToken: { keyId: "0123456789abcdef", wrappedKey: "c2VhbGVk", ciphertext: "c2VhbGVk" },
    tokenLast4: "4fZ9",
    position: { seq: 0, timestamp: "2026-01-01T00:00:00.000Z", key: "" },
    dueAt: "2026-01-01T00:01:00.000Z",
    sentEntries: 1_200,
    lastSentAt: "2026-01-01T00:00:00.000Z",
    failures: 0,
    createdAt: "2025-12-01T00:00:00.000Z",
  },
});

export type AuditSink = RecordOf<typeof auditSink>;
