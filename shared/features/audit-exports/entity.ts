import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, generated } from "../../core/fields.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { auditFilters } from "../audit/entity.ts";

export const EXPORT_FORMATS = ["ndjson", "csv"] as const;
export const EXPORT_STATUSES = ["queued", "running", "completed", "failed", "cancelled"] as const;
export type ExportStatus = (typeof EXPORT_STATUSES)[number];

const count = z.int().min(0);

export const auditExport = defineEntity({
  name: "audit-export",
  summary: "An export of audit entries to a file, which a job writes.",
  key: "auditexport:{id}",
  schema: z.looseObject({
    /** Ids are unique on the platform, so a chosen one would tell a tenant which ids others have. */
    id: byServer(generated("export", segment)),
    tenantId: createOnly(
      segment.optional().meta({
        description: "The tenant whose entries it contains. Without it, those of all tenants and of the platform.",
      }),
    ),
    format: createOnly(
      z.enum(EXPORT_FORMATS).default("ndjson").meta({ description: "The form of the file, as of `GET /v1/audit/export`." }),
    ),
    resource: createOnly(auditFilters.resource),
    resourceId: createOnly(auditFilters.resourceId),
    actorId: createOnly(auditFilters.actorId),
    actorEmail: createOnly(auditFilters.actorEmail),
    action: createOnly(auditFilters.action),
    from: createOnly(instant.optional().meta({ description: "Entries of this instant or later." })),
    to: createOnly(instant.optional().meta({ description: "Entries before this instant. Default: those until the job begins." })),
    status: byServer(z.enum(EXPORT_STATUSES)),
    progress: byServer(z.int().min(0).max(100).meta({ description: "Percent." })),
    entries: byServer(count.default(0).meta({ description: "The number of entries that were written." })),
    requestedBy: byServer(z.string().min(1).max(128).meta({ description: "The id of the person or API key." })),
    /** Where the job stands. `where` is resolved once, because a cursor belongs to its conditions. */
    run: byServer(
      z.looseObject({ where: z.array(z.looseObject({ field: z.string() })), total: count, cursor: z.string().optional() }).optional(),
    ),
    fileId: byServer(segment.optional()),
    bytes: byServer(count.optional().meta({ description: "The length of the complete file." })),
    sha256: byServer(z.string().optional().meta({ description: "Of the complete file, in lower-case hex." })),
    expiresAt: byServer(instant.optional().meta({ description: "The end of the download. The file is then deleted." })),
    error: byServer(z.string().max(1_000).optional().meta({ description: "Why the export has failed." })),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
    completedAt: byServer(instant.optional()),
  }),
  owner: "tenant",
  retention: { days: 90, after: "createdAt" },
  filterable: ["status", "tenantId"],
  sortable: ["createdAt"],
  indexes: [["createdAt"], ["@tenantId", "createdAt"], ["status", "createdAt"]],
  secrets: ["run"],
  personal: ["actorEmail"],
  subjects: { email: "actorEmail" },
  userIds: ["requestedBy"],
  exported: true,
  example: {
    id: "export_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    format: "ndjson",
    action: "tenant.*",
    status: "completed",
    progress: 100,
    entries: 1_200,
    requestedBy: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11",
    fileId: "file_1767225660000_a1b2c3d4e5f6",
    bytes: 1_048_576,
    sha256: "a".repeat(64),
    expiresAt: "2026-01-08T00:01:00.000Z",
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-01T00:01:02.000Z",
    completedAt: "2026-01-01T00:01:02.000Z",
  },
});

export type AuditExport = RecordOf<typeof auditExport>;

export const openAuditExports = defineEntity({
  name: "open-audit-exports",
  summary: "The exports of one tenant, or of the platform, that may not have ended. Every new one changes it, so none exceeds the limit.",
  key: "auditexport:{tenantId}:open",
  schema: z.looseObject({ tenantId: segment, exports: z.array(segment), updatedAt: instant }),
  owner: "tenant",
  platformToo: true,
  example: {
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    exports: ["export_1767225600000_a1b2c3d4e5f6"],
    updatedAt: "2026-01-01T00:00:00.000Z",
  },
});
