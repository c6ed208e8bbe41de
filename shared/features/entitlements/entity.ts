import { z } from "zod";
import { byServer, changedInstant, createdInstant, createOnly, generated, given, platformOnly } from "../../core/fields.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { planLimits } from "../plans/entity.ts";
import { METRIC_UNIT } from "../usage/entity.ts";

export const GRANT_KINDS = ["feature", "limit"] as const;
export type GrantKind = (typeof GRANT_KINDS)[number];
export const GRANT_SOURCES = ["override", "grant", "trial"] as const;
export const SOURCES = ["plan", ...GRANT_SOURCES] as const;
export type Source = (typeof SOURCES)[number];

/** The maximum number of a tenant's grants that have not expired. All of them are in its entitlements. */
export const MAX_GRANTS = 100;

const kind = z.enum(GRANT_KINDS);
const key = z.string().min(1).max(100).meta({ description: "The feature, or the metric that is limited (or `customDomains`)." });
const value = z.union([z.boolean(), z.int().min(0).max(1e15)]).nullable().meta({
  description:
    `A feature: true adds it, and false, in an override, removes it. A limit: an amount in ${METRIC_UNIT}, or null for unlimited.`,
});
const source = z.enum(GRANT_SOURCES).default("grant").meta({
  description: "`override` replaces what the plan and the other grants give. `grant` and `trial` add to the plan.",
});
const expiresAt = instant.optional().meta({
  description: "The first instant at which it no longer counts. If omitted, it does not expire.",
});

export const grant = defineEntity({
  name: "grant",
  summary: "A feature or limit that a tenant has beside its plan, or that an override takes away.",
  key: "grant:{tenantId}:{id}",
  schema: z.looseObject({
    id: generated("grant", segment),
    tenantId: byServer(segment),
    kind: createOnly(kind),
    key: createOnly(key),
    // Without a value, a merge patch has set it to null, which is an unlimited limit.
    value: platformOnly(given(value.default(null), value)),
    source: platformOnly(source),
    reason: z.string().min(1).max(500).optional().meta({ description: "Why the tenant has it. The tenant can read it." }),
    expiresAt,
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  retention: { days: 730, after: "expiresAt" },
  filterable: ["kind", "key", "source", "expiresAt"],
  sortable: ["createdAt", "expiresAt"],
  indexes: [["@tenantId", "createdAt"], ["kind", "key"], ["expiresAt"]],
  exported: true,
  example: {
    id: "grant_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    kind: "limit",
    key: "rooms",
    value: 20,
    source: "grant",
    reason: "A second building opens in March.",
    expiresAt: "2026-07-01T00:00:00.000Z",
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Grant = RecordOf<typeof grant>;

/** What of a grant decides. */
const grantItem = z.looseObject({
  id: segment,
  kind,
  key,
  value,
  source,
  expiresAt: instant.optional(),
  createdAt: instant,
});
export type GrantItem = z.output<typeof grantItem>;

export const entitlements = defineEntity({
  name: "entitlements",
  summary: "What decides on a tenant's features and limits: the terms that it was sold, its grants, and whether it is active.",
  key: "entitlements:{tenantId}",
  schema: z.looseObject({
    tenantId: byServer(segment),
    revision: byServer(z.int().min(0)),
    active: byServer(z.boolean()),
    planId: byServer(segment),
    planVersion: byServer(z.int().min(1).optional()),
    planFeatures: byServer(z.array(z.string())),
    planLimits: byServer(planLimits),
    grants: byServer(z.array(grantItem).meta({ description: "The grants that had not expired at `updatedAt`, by id." })),
    nextExpiryAt: byServer(instant.optional().meta({ description: "When the first of the grants expires." })),
    updatedAt: changedInstant(instant),
  }),
  owner: "tenant",
  filterable: ["nextExpiryAt"],
  sortable: ["nextExpiryAt"],
  indexes: [["nextExpiryAt"]],
  exported: true,
  example: {
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    revision: 2,
    active: true,
    planId: "Pro",
    planVersion: 1,
    planFeatures: ["api", "channel-manager"],
    planLimits: { users: 50, rooms: 500 },
    grants: [{
      id: "grant_1767225600000_a1b2c3d4e5f6",
      kind: "limit",
      key: "rooms",
      value: 20,
      source: "grant",
      expiresAt: "2026-07-01T00:00:00.000Z",
      createdAt: "2026-01-01T00:00:00.000Z",
    }],
    nextExpiryAt: "2026-07-01T00:00:00.000Z",
    updatedAt: "2026-01-01T00:00:00.000Z",
  },
});

/** The stored entitlements. They include grants that have expired since they were written. */
export type Entitlements = RecordOf<typeof entitlements>;
