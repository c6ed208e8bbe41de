import { z } from "zod";
import { branding, REGIONS, TENANT_STATUSES } from "./entity.ts";
import { email, instant, majorUnits, metadata, percent, segment } from "../../core/values.ts";

/** A plan id, or its full key `plan:<id>`. */
export const planReference = z.string().min(1).max(160).transform((id) => id.startsWith("plan:") ? id.slice(5) : id).pipe(segment);
const name = z.string().trim().min(1).max(200);
const subdomain = z.string().max(63);
const customDomain = z.string().max(128);

/** What creates a tenant. Ids come from the service unless an import brings its own. */
export const tenantCreate = z.strictObject({
  id: segment.optional(),
  name,
  billingEntity: z.string().max(200).optional(),
  subdomain,
  customDomain: customDomain.optional(),
  region: z.enum(REGIONS).optional(),
  plan: planReference,
  status: z.enum(TENANT_STATUSES).optional(),
  owner: email,
  ownerName: z.string().trim().min(1).max(200),
  ownerUserId: z.string().max(128).optional(),
  usagePercent: percent.optional(),
  mrr: majorUnits.optional(),
  branding: branding.optional(),
  settings: metadata.optional(),
  metadata: metadata.optional(),
  trialEndsAt: instant.optional(),
  suspensionReason: z.string().trim().min(1).max(500).optional(),
});
export type TenantCreate = z.input<typeof tenantCreate>;

/** JSON merge patch (RFC 7396): null removes an optional member. */
export const tenantUpdate = z.strictObject({
  name: name.optional(),
  billingEntity: z.string().max(200).nullable().optional(),
  subdomain: subdomain.optional(),
  customDomain: customDomain.nullable().optional(),
  region: z.enum(REGIONS).nullable().optional(),
  plan: planReference.optional(),
  status: z.enum(TENANT_STATUSES).optional(),
  owner: email.optional(),
  ownerName: z.string().trim().min(1).max(200).optional(),
  ownerUserId: z.string().max(128).nullable().optional(),
  mrr: majorUnits.optional(),
  branding: z.record(z.string(), z.json()).nullable().optional(),
  settings: z.record(z.string(), z.json()).nullable().optional(),
  metadata: z.record(z.string(), z.json()).nullable().optional(),
  trialEndsAt: instant.nullable().optional(),
  suspensionReason: z.string().trim().min(1).max(500).optional(),
});
export type TenantUpdate = z.input<typeof tenantUpdate>;
