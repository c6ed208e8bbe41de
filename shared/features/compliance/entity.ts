import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, generated } from "../../core/fields.ts";
import { email, instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

export const REQUEST_TYPES = ["export", "deletion", "rectification", "restriction"] as const;
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
        description:
          "The job `compliance` does an `export` and a `deletion`. People do a `rectification` or `restriction` and set its status.",
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
    gracePeriodDays: createOnly(
      z.int().min(0).max(90).optional().meta({
        description: "Of a deletion: the days until it is done, in which it can be cancelled. Default: 7.",
      }),
    ),
    runAt: byServer(instant.optional().meta({ description: "From when on the job handles the request." })),
    heldSince: byServer(
      instant.optional().meta({
        description: "Of a deletion: since when a legal hold prevents it. It is done after the hold is released.",
      }),
    ),
    status: byServer(z.enum(REQUEST_STATUSES)),
    progress: byServer(z.int().min(0).max(100).meta({ description: "Percent." })),
    requestedBy: byServer(z.string().min(1).max(128).meta({ description: "The id of the person or API key." })),
    requestedByEmail: byServer(email.optional()),
    byPlatform: byServer(
      z.boolean().optional().meta({
        description: "Of a deletion: whether the platform has requested it. Then only the platform can cancel it.",
      }),
    ),
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
    certificateId: byServer(segment.optional().meta({ description: "Of a completed deletion: its certificate." })),
    created: createdInstant(instant),
    updatedAt: changedInstant(instant),
    completedAt: byServer(instant.optional()),
  }),
  owner: "tenant",
  onTenantDelete: ({ type, status }) => type === "deletion" && status === "completed" ? "retain" : "delete",
  keptBecause: "The request proves that the deletion was asked for (GDPR, Article 5(2)).",
  retention: { days: 2_190, after: "updatedAt" },
  filterable: ["id", "type", "status", "requestedBy", "dueAt", "runAt"],
  sortable: ["created", "dueAt", "runAt", "status"],
  defaultSort: "-created",
  indexes: [["@tenantId", "created"], ["status", "runAt"], ["created"], ["id"]],
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

/** What was kept, and what not, of one kind of records. */
const certified = z.object({
  entity: segment,
  pattern: z.string().meta({ description: "The pattern of its keys." }),
  before: count.meta({ description: "The number of records before the deletion." }),
  after: count.meta({ description: "The number of records that were found after the deletion and should have been deleted: 0." }),
  kept: count.meta({ description: "The number of records that are kept." }),
  ground: z.string().optional().meta({ description: "On what ground they are kept." }),
});

export const deletionCertificate = defineEntity({
  name: "deletion-certificate",
  summary: "What the deletion of a tenant by a request has removed and kept, signed. It belongs to the platform and outlives the tenant.",
  key: "certificate:{id}",
  schema: z.looseObject({
    id: generated("cert", segment),
    requestId: segment.meta({ description: "The id of the request. Those of two tenants can be the same." }),
    deletedTenant: segment.meta({ description: "The id of the deleted tenant." }),
    status: z.enum(["unsigned", "signed"]).meta({
      description: "The job `compliance` counts what is left and signs right after the deletion.",
    }),
    requestedBy: z.string(),
    requestedAt: instant,
    deletedAt: instant,
    signedAt: instant.optional(),
    records: z.array(certified).optional(),
    signature: z.string().optional().meta({
      description: "HMAC-SHA-256 of the other members but `status`, in canonical JSON (RFC 8785), under a key of the platform.",
    }),
    /** What the commit of the deletion counted. */
    receipt: z.looseObject({ deleted: z.record(z.string(), count) }).optional(),
  }),
  owner: "platform",
  retention: { days: 2_190, after: "deletedAt" },
  filterable: ["deletedTenant", "requestId", "status", "deletedAt"],
  sortable: ["deletedAt"],
  defaultSort: "-deletedAt",
  indexes: [["deletedAt"], ["deletedTenant", "deletedAt"], ["status", "deletedAt"]],
  userIds: ["requestedBy"],
  secrets: ["receipt"],
  example: {
    id: "cert_1767830400000_a1b2c3d4e5f6",
    requestId: "req_1767225600000_a1b2c3d4e5f6",
    deletedTenant: "tn_1767225600000_a1b2c3d4e5f6",
    status: "signed",
    requestedBy: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11",
    requestedAt: "2026-01-01T00:00:00.000Z",
    deletedAt: "2026-01-08T00:00:00.000Z",
    signedAt: "2026-01-08T00:00:01.000Z",
    records: [{ entity: "usage-record", pattern: "usage:{tenantId}:{metric}:{period}", before: 12, after: 0, kept: 0 }],
    signature: "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA",
  },
});

export type ComplianceRequest = RecordOf<typeof complianceRequest>;
export type ExportRun = RecordOf<typeof exportRun>;
export type DeletionCertificate = RecordOf<typeof deletionCertificate>;
