import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly } from "../../core/fields.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

/** No action of the program begins with it, so that a declared action cannot be mistaken for one. */
export const CUSTOM_PREFIX = "app.";

const actionName = z.string().max(100).regex(
  /^app(\.[a-z0-9_-]+)+$/,
  `must begin with ${CUSTOM_PREFIX} and have lower-case names with dots, such as app.room.unlocked`,
);

export const auditAction = defineEntity({
  name: "audit-action",
  summary: "An action of the platform's own product that its services report to the audit log.",
  key: "auditaction:{id}",
  schema: z.looseObject({
    id: createOnly(actionName),
    description: z.string().min(1).max(500).meta({ description: "What has happened when an entry has this action." }),
    dataSchema: z.record(z.string().max(100), z.json()).optional().meta({
      description:
        "The JSON Schema, draft 2020-12, of the entry's `data`, without references and patterns. Without a schema, entries have no data.",
    }),
    actionVersion: byServer(
      z.int().min(1).default(1).meta({ description: "Increases with each change of `dataSchema`. Entries name the version." }),
    ),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant),
  }),
  owner: "platform",
  readableByTenants: true,
  sortable: ["id", "createdAt"],
  defaultSort: "id",
  searchable: ["id", "description"],
  example: {
    id: "app.room.unlocked",
    description: "A door was opened with a key of the reception.",
    dataSchema: {
      type: "object",
      properties: { room: { type: "string", maxLength: 20 } },
      required: ["room"],
      additionalProperties: false,
    },
    actionVersion: 1,
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-01T00:00:00.000Z",
  },
});

export type AuditAction = RecordOf<typeof auditAction>;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

export const auditReceipt = defineEntity({
  name: "audit-receipt",
  summary: "Marks an entry that a service has reported, so that it is written once.",
  key: "auditreceipt:{tenantId?}:{id}",
  schema: z.looseObject({
    id: sha256.meta({ description: "SHA-256 of the source and the id of the entry." }),
    tenantId: segment.optional(),
    contentHash: sha256.meta({ description: "SHA-256 of the entry. Another entry with its id is refused." }),
    receivedAt: instant,
  }),
  owner: "tenant",
  retention: { days: 400, after: "receivedAt" },
  example: {
    id: "a".repeat(64),
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    contentHash: "b".repeat(64),
    receivedAt: "2026-01-01T00:00:00.000Z",
  },
});
