import { z } from "zod";
import { component } from "../../core/schemas.ts";
import { instant, segment } from "../../core/values.ts";
import { METRIC_UNIT } from "../usage/entity.ts";
import { type Entitlements, entitlements, GRANT_KINDS, SOURCES } from "./entity.ts";
import { resolved, revisionAt } from "./rules.ts";

const decided = {
  key: z.string(),
  source: z.enum(SOURCES).meta({ description: "What decides: the plan, or the kind of the grants in `grantIds`." }),
  grantIds: z.array(segment).optional().meta({ description: "The grants that decide. Absent if the plan does." }),
  expiresAt: instant.optional().meta({ description: "When the first of these grants expires." }),
};
const limit = z.number().nullable().meta({ description: `In ${METRIC_UNIT}. Null means unlimited.` });
const revision = z.int().min(0).meta({
  description: "Grows with every change and with every grant that expires. A receiver of events keeps the highest.",
});
const active = z.boolean().meta({
  description: "False while the tenant is pending, suspended or cancelled, or its subscription is cancelled: then nothing is allowed.",
});
const version = z.string().nullable().meta({ description: "The version of all of the tenant's entitlements, as in the ETag." });

const LISTED = {
  tenantId: entitlements.example.tenantId,
  revision: 2,
  active: true,
  planId: "Pro",
  planVersion: 1,
  features: [{ key: "api", source: "plan" }, { key: "channel-manager", source: "plan" }],
  limits: [
    {
      key: "rooms",
      limit: 520,
      source: "grant",
      grantIds: ["grant_1767225600000_a1b2c3d4e5f6"],
      expiresAt: "2026-07-01T00:00:00.000Z",
    },
    { key: "users", limit: 50, source: "plan" },
  ],
  updatedAt: "2026-01-01T00:00:00.000Z",
  version: "42",
};

/** A tenant's entitlements at the instant of the request. */
export const entitlementsView = component(
  "TenantEntitlements",
  z.object({
    tenantId: segment,
    revision,
    active,
    planId: segment,
    planVersion: z.int().optional().meta({ description: "The version of the plan that the tenant was sold." }),
    features: z.array(z.object(decided)).meta({ description: "The features that the tenant has, by key." }),
    limits: z.array(z.object({ ...decided, limit })).meta({
      description: "The limits that the plan or a grant names, by key. A metric that is not listed is unlimited.",
    }),
    updatedAt: instant,
    version,
  }).meta({ description: "A tenant's features and limits, and what decides each." }),
  () => LISTED,
);
export type EntitlementsView = z.output<typeof entitlementsView>;

/** One entitlement. */
export const entitlementView = component(
  "Entitlement",
  z.object({
    ...decided,
    kind: z.enum(GRANT_KINDS),
    active,
    allowed: z.boolean().optional().meta({ description: "Only for a feature: whether the tenant may use it now." }),
    limit: limit.optional().meta({ description: `Only for a limit, in ${METRIC_UNIT}. Null means unlimited.` }),
    revision,
    version,
  }),
  () => ({ key: "channel-manager", kind: "feature", active: true, allowed: true, source: "plan", revision: 2, version: "42" }),
);
export type EntitlementView = z.output<typeof entitlementView>;

type Read = Entitlements & { readonly version?: string };

/** The record as responses show it: without the grants that have expired at `now`. */
export function viewAt(record: Read, now: string): EntitlementsView {
  const { tenantId, planId, planVersion, updatedAt } = record;
  const version = versionAt(record, now);
  return { tenantId, planId, ...(planVersion === undefined ? {} : { planVersion }), ...resolved(record, now), updatedAt, version };
}

/** A representation without an expired grant has another ETag (RFC 9110 §8.8.1). */
export function versionAt(record: Read, now: string): string | null {
  const expired = revisionAt(record, now) - record.revision;
  return record.version === undefined ? null : expired > 0 ? `${record.version}-${expired}` : record.version;
}
