import { z } from "zod";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

export { auditEntry } from "../../core/audit-entry.ts";
export { personalKey } from "../../core/personal-key.ts";

const text = (description: string) => z.string().min(1).max(512).optional().meta({ description });

/** The filters of lists and exports of audit entries, besides the tenant and the time. */
export const auditFilters = {
  resource: text("The kind of the record, such as `tenant`."),
  resourceId: text("The id of the record."),
  actorId: text("The id of the actor."),
  actorEmail: text("The email address of the actor."),
  action: z.string().regex(/^(\*|[a-z0-9._-]+\*?)$/, "must be a name such as tenant.created, with * only at the end").optional()
    .meta({ description: "The action. `tenant.*` matches every action on tenants.", examples: ["tenant.created"] }),
} as const;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

export const checkpoint = defineEntity({
  name: "checkpoint",
  summary: "The hash of one entry of an audit chain, signed and stored apart from the chain.",
  key: "checkpoint:{scope}:{seq}",
  schema: z.looseObject({
    id: z.string(),
    scope: segment.meta({ description: "The tenant of the chain, or `global` for the platform's." }),
    /** Absent for the platform and for a deleted tenant. */
    tenantId: segment.optional(),
    /** `base`: retention deleted the chain up to this entry. `head`: the entry was the last of the chain. */
    kind: z.enum(["base", "head"]),
    seq: z.int().min(1),
    hash: sha256,
    takenAt: instant,
    signature: sha256.optional().meta({
      description: "HMAC-SHA-256 of kind, scope, seq, hash and time. Absent without `INNKEEP_AUDIT_KEY`.",
    }),
  }),
  // A tenant's users verify their chain with it. It is kept, because the chain is.
  owner: "tenant",
  onTenantDelete: "retain",
  keptBecause: "The audit log proves what was done, and by whom (GDPR, Article 5(2) and Article 17(3)(e)).",
  naturalKey: true,
  example: {
    id: "checkpoint:tn_1767225600000_a1b2c3d4e5f6:1200",
    scope: "tn_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    kind: "head",
    seq: 1_200,
    hash: "a".repeat(64),
    takenAt: "2026-01-01T00:00:00.000Z",
    signature: "b".repeat(64),
  },
});

export type Checkpoint = RecordOf<typeof checkpoint>;
