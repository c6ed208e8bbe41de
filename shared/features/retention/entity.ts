import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, given } from "../../core/fields.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { planReference } from "../plans/entity.ts";
import { shortTenantId } from "../tenants/entity.ts";

const count = z.int().min(0);
const TENANT = {
  description: "The tenant whose records are meant. Such a policy applies instead of one for the tenant's plan or for all.",
};
const PLAN = { description: "The plan whose tenants' records are meant. Such a policy applies instead of one for all." };
const tenantReference = z.string().transform(shortTenantId).pipe(segment);

export const policy = defineEntity({
  name: "policy",
  summary:
    "How long the records of one entity are kept, instead of the declared time: all, those of one tenant, or of the tenants of a plan.",
  key: "policy:{id}",
  schema: z.looseObject({
    id: createOnly(segment),
    type: segment.meta({ description: "The name of an entity that declares a retention, such as `usage-record`." }),
    tenantId: given(segment.optional().meta(TENANT), tenantReference.optional().meta(TENANT)),
    planId: given(segment.optional().meta(PLAN), planReference.optional().meta(PLAN)),
    retentionDays: z.int().min(1).max(36_500).meta({
      description: "Days from the time field of each record; at least 30 for audit entries.",
    }),
    action: z.enum(["delete", "anonymise", "archive"]).default("delete").meta({
      description: "`anonymise`: the records stay, without personal data and the ids of persons. `archive`: audit entries are written to " +
        "the archive before they are deleted.",
    }),
    enabled: z.boolean().meta({ description: "Whether the policy applies. Of several for the same records, the longest applies." }),
    legalBasis: z.string().min(1).max(500).optional().meta({ description: "Why the records are kept for this time." }),
    lastRunAt: byServer(instant.optional()),
    lastDeleted: byServer(count.optional().meta({ description: "The number of records that the last run deleted or anonymised." })),
    nextRunAt: byServer(instant.optional()),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "platform",
  filterable: ["type", "enabled", "tenantId", "planId"],
  sortable: ["type", "createdAt"],
  indexes: [["createdAt"]],
  example: {
    id: "usage",
    type: "usage-record",
    retentionDays: 730,
    action: "delete",
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
  summary: "What a run of the cleanup that is not complete has deleted by one rule. Each deletion changes it in its commit.",
  key: "retentionrun:{type}:{subject}:{name}",
  schema: z.looseObject({
    type: segment,
    subject: z.enum(["all", "plan", "tenant"]).meta({ description: "Whose records the rule is for." }),
    name: segment.meta({ description: "The id of the plan or tenant; `all` for everybody." }),
    startedAt: instant,
    deleted: count,
  }),
  owner: "platform",
  example: { type: "usage-record", subject: "all", name: "all", startedAt: "2026-01-01T00:00:00.000Z", deleted: 100 },
});

export type Policy = RecordOf<typeof policy>;
