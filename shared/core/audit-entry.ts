import { z } from "zod";
import { defineEntity } from "../kv/define.ts";
import type { RecordOf } from "../kv/define.ts";
import { instant, segment } from "./values.ts";

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

export const auditEntry = defineEntity({
  name: "audit-entry",
  summary: "A record of a change: the action, the actor and the resource. Append-only and hash-chained.",
  key: "audit:{tenantId?}:{timestamp}:{~nonce}",
  schema: z.looseObject({
    id: z.string(),
    action: z.string().regex(/^[a-z0-9_-]+(\.[a-z0-9_-]+)+$/, "must be lower case with dots, such as tenant.created"),
    actionVersion: z.int().min(1).optional().meta({
      description: "The version of the declaration of a custom action. Absent for the actions of the program.",
    }),
    resource: z.string().min(1).max(100),
    resourceId: z.string().min(1).max(512),
    tenantId: segment.optional(),
    actor: z.looseObject({ type: z.enum(["admin", "user", "api_key", "system"]), id: z.string(), email: z.string().optional() }),
    userId: z.string(),
    userEmail: z.string().optional(),
    changes: z.looseObject({ before: z.record(z.string(), z.json()), after: z.record(z.string(), z.json()) }).optional(),
    data: z.record(z.string(), z.json()).optional(),
    reported: z.looseObject({
      id: z.string(),
      source: z.string(),
      time: instant.optional(),
      actor: z.looseObject({ type: z.string(), id: z.string() }).optional(),
    }).optional().meta({ description: "What the service that reported the entry says of it. `actor` is the caller that sent it." }),
    ipAddress: z.string().optional(),
    userAgent: z.string().optional(),
    requestId: z.string().optional(),
    timestamp: instant,
    personal: z.array(z.strictObject({
      key: segment.meta({ description: "The id of the key of personal data." }),
      at: z.array(z.string()).meta({ description: "The places of the values, as JSON Pointers (RFC 6901)." }),
      sealed: z.string().meta({ description: "AES-256-GCM of the JSON array of the values, with the id of the entry." }),
    })).optional().meta({
      description: "The personal data of the stored entry. It is decrypted where an entry is shown, which then lacks this member.",
    }),
    /** The database computes `seq`, `prevHash` and `hash` in the commit. */
    seq: z.int().min(1).meta({ description: "Position in its chain, from 1 without gaps." }),
    prevHash: sha256,
    hash: sha256,
  }),
  owner: "tenant",
  personal: ["actor", "userEmail", "ipAddress", "userAgent"],
  subjects: { userId: "userId" },
  onTenantDelete: "retain",
  keptBecause: "The audit log proves what was done, and by whom (GDPR, Article 5(2) and Article 17(3)(e)).",
  retention: { days: 730, after: "timestamp" },
  filterable: ["action", "resource", "resourceId", "userId", "userEmail", "tenantId", "timestamp"],
  sortable: ["timestamp", "seq"],
  indexes: [
    ["@tenantId", "seq"],
    ["timestamp"],
    ["@tenantId", "timestamp"],
    ["resource", "resourceId", "timestamp"],
    ["action", "timestamp"],
    ["userId", "timestamp"],
    ["userEmail", "timestamp"],
  ],
  appendOnly: true,
  naturalKey: true,
  exported: true,
  example: {
    id: "audit:tn_1767225600000_a1b2c3d4e5f6:2026-01-01T00:00:00.000Z:a1b2c3d4e5f6",
    action: "tenant.created",
    resource: "tenant",
    resourceId: "tn_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    actor: { type: "admin", id: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11" },
    userId: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11",
    timestamp: "2026-01-01T00:00:00.000Z",
    seq: 1,
    prevHash: "0".repeat(64),
    hash: "a".repeat(64),
  },
});

/** What an entry shows instead of personal data whose key was deleted. */
export const ERASED = "[erased]";
/** What it shows while the root key of that key is not available, or if the text was damaged. */
export const UNREADABLE = "[unreadable]";

/** The entry as the program writes it. The database adds `seq`, `prevHash` and `hash` in the commit. */
export const auditEntryDraft = auditEntry.schema.omit({ seq: true, prevHash: true, hash: true });

export type AuditEntry = RecordOf<typeof auditEntry>;
