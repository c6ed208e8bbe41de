import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, generated } from "../../core/fields.ts";
import { email, instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

export const REQUEST_TYPES = ["export", "rectification", "restriction"] as const;
export type RequestType = (typeof REQUEST_TYPES)[number];
export const REQUEST_STATUSES = ["pending", "processing", "completed", "failed", "cancelled"] as const;
export type RequestStatus = (typeof REQUEST_STATUSES)[number];
export const EXPORT_FORMATS = ["ndjson", "json", "csv"] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

const count = z.int().min(0);

export const complianceRequest = defineEntity({
  name: "compliance-request",
  summary: "A request of a data subject or tenant under data protection law, and how it was handled.",
  key: "compliance:{tenantId}:{id}",
  schema: z.looseObject({
    id: generated("req", segment),
    tenantId: byServer(segment),
    type: createOnly(
      z.enum(REQUEST_TYPES).meta({
        description: "The job `compliance` does an `export`. People do a `rectification` or `restriction` and set its status.",
      }),
    ),
    format: createOnly(z.enum(EXPORT_FORMATS).optional().meta({ description: "Of an export: the form of its files. Default: `ndjson`." })),
    dataTypes: createOnly(
      z.array(segment).min(1).max(100).optional().meta({
        description: "Of an export: the kinds of records that it contains. Default: all.",
      }),
    ),
    details: createOnly(
      z.string().trim().min(1).max(2_000).optional().meta({ description: "What is requested, for those who handle it." }),
    ),
    status: byServer(z.enum(REQUEST_STATUSES)),
    progress: byServer(z.int().min(0).max(100).meta({ description: "Percent." })),
    requestedBy: byServer(z.string().min(1).max(128).meta({ description: "The id of the person or API key." })),
    requestedByEmail: byServer(email.optional()),
    dueAt: byServer(instant.meta({ description: "30 days after the request (GDPR, Article 12(3))." })),
    asOf: byServer(
      z.object({ from: instant, to: instant }).optional().meta({
        description: "Of an export: every record is as it was at an instant in this interval.",
      }),
    ),
    parts: byServer(
      z.array(z.object({
        type: segment,
        records: count.meta({ description: "The number of records." }),
        error: z.string().optional().meta({ description: "The code of the error because of which this part is not in the archive." }),
      })).optional().meta({ description: "Of a completed export: the number of records by kind." }),
    ),
    /** The archive of a completed export. */
    fileId: byServer(segment.optional()),
    expiresAt: byServer(instant.optional().meta({ description: "The end of the download. The archive is then deleted." })),
    error: byServer(z.string().max(1_000).optional().meta({ description: "Why the request has failed." })),
    created: createdInstant(instant),
    updatedAt: changedInstant(instant),
    completedAt: byServer(instant.optional()),
  }),
  owner: "tenant",
  retention: { days: 2_190, after: "updatedAt" },
  filterable: ["id", "type", "status", "requestedBy", "dueAt"],
  sortable: ["created", "dueAt", "status"],
  defaultSort: "-created",
  indexes: [["@tenantId", "created"], ["status", "created"], ["created"], ["id"]],
  exported: true,
  personal: ["requestedByEmail", "details"],
  subjects: { userId: "requestedBy", email: "requestedByEmail" },
  example: {
    id: "req_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    type: "export",
    format: "ndjson",
    status: "completed",
    progress: 100,
    requestedBy: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11",
    requestedByEmail: "ada@aurora.example",
    dueAt: "2026-01-31T00:00:00.000Z",
    asOf: { from: "2026-01-01T00:01:00.000Z", to: "2026-01-01T00:01:02.000Z" },
    parts: [{ type: "usage-record", records: 12 }],
    fileId: "file_1767225660000_a1b2c3d4e5f6",
    expiresAt: "2026-01-08T00:01:00.000Z",
    created: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-01T00:01:02.000Z",
    completedAt: "2026-01-01T00:01:02.000Z",
  },
});

export const exportRun = defineEntity({
  name: "export-run",
  summary: "Where the export of a compliance request stands. It is deleted when the export is complete.",
  key: "exportrun:{tenantId}:{requestId}",
  schema: z.looseObject({
    tenantId: segment,
    requestId: segment,
    startedAt: instant,
    expiresAt: instant.meta({ description: "The end of its files." }),
    at: count.meta({ description: "The part that is written now." }),
    cursor: z.string().optional().meta({ description: "Where the next page of the part begins." }),
    parts: z.array(z.object({
      type: segment,
      fileId: segment.optional(),
      records: count,
      error: z.string().optional(),
    })),
    manifestId: segment.optional(),
  }),
  owner: "tenant",
  secrets: ["cursor"],
  example: {
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    requestId: "req_1767225600000_a1b2c3d4e5f6",
    startedAt: "2026-01-01T00:01:00.000Z",
    expiresAt: "2026-01-08T00:01:00.000Z",
    at: 0,
    parts: [{ type: "usage-record", fileId: "file_1767225660000_a1b2c3d4e5f6", records: 12 }],
  },
});

export type ComplianceRequest = RecordOf<typeof complianceRequest>;
export type ExportRun = RecordOf<typeof exportRun>;
