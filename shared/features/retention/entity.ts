import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly } from "../../core/fields.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

const count = z.int().min(0);

export const policy = defineEntity({
  name: "policy",
  summary: "How long the records of one entity are kept, instead of the declared time.",
  key: "policy:{id}",
  schema: z.looseObject({
    id: createOnly(segment),
    type: segment.meta({ description: "The name of an entity that declares a retention, such as `usage-record`." }),
    retentionDays: z.int().min(1).max(36_500).meta({ description: "Days from the time field of each record." }),
    enabled: z.boolean().meta({ description: "Whether the policy applies. Of several for one entity, the longest applies." }),
    legalBasis: z.string().min(1).max(500).optional().meta({ description: "Why the records are kept for this time." }),
    lastRunAt: byServer(instant.optional()),
    lastDeleted: byServer(count.optional().meta({ description: "The number of records that the last run deleted." })),
    nextRunAt: byServer(instant.optional()),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "platform",
  filterable: ["type", "enabled"],
  sortable: ["type", "createdAt"],
  indexes: [["createdAt"]],
  example: {
    id: "usage",
    type: "usage-record",
    retentionDays: 730,
    enabled: true,
    legalBasis: "Proof of invoiced amounts.",
    lastRunAt: "2026-01-01T00:00:00.000Z",
    lastDeleted: 120,
    nextRunAt: "2026-01-01T01:00:00.000Z",
    createdAt: "2025-01-01T00:00:00.000Z",
  },
});

export const retentionRun = defineEntity({
  name: "retention-run",
  summary: "What a run of the cleanup that is not complete has deleted of one entity. Each deletion changes it in its commit.",
  key: "retentionrun:{type}",
  schema: z.looseObject({ type: segment, startedAt: instant, deleted: count }),
  owner: "platform",
  example: { type: "usage-record", startedAt: "2026-01-01T00:00:00.000Z", deleted: 100 },
});

export type Policy = RecordOf<typeof policy>;
