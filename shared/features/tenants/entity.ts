import { z } from "zod";
import { branding, brandingInput } from "../../core/branding.ts";
import { byServer, changedInstant, createdInstant, createOnly, generated, given, ownerOnly, platformOnly } from "../../core/fields.ts";
import { maintenance } from "../../core/maintenance.ts";
import { checkedText, day, email, instant, majorUnits, metadata, percent, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { planReference } from "../plans/entity.ts";
import { ownSettings } from "../settings/entity.ts";
import { domainProblem, subdomainProblem } from "./host-names.ts";

export const TENANT_STATUSES = ["pending", "trial", "active", "suspended", "cancelled"] as const;

export * from "./claims.ts";
export { signUp } from "./sign-ups.ts";

const text = (max: number) => z.string().trim().min(1).max(max);

const mrr = majorUnits.meta({
  description: "Monthly recurring revenue in the major unit of the platform's currency: 299 means 299.00 per month. " +
    "At most 2 decimals; in a currency without a minor unit, such as JPY, none. 0 while the subscription is cancelled, " +
    "unless it was set explicitly.",
});

export const tenant = defineEntity({
  name: "tenant",
  summary: "A customer of the platform.",
  key: "tenant:{id}",
  schema: z.looseObject({
    id: generated("tn", segment),
    name: given(z.string().min(1).max(200), text(200)),
    billingEntity: z.string().max(200).optional(),
    subdomain: given(z.string(), checkedText(z.string(), subdomainProblem).meta({ minLength: 3, maxLength: 63 })),
    // Domains are not verified. A tenant that could claim any domain could receive another's requests.
    customDomain: platformOnly(given(z.string().optional(), checkedText(z.string(), domainProblem).meta({ maxLength: 128 }).optional())),
    /** One of the platform's regions. */
    region: segment.optional(),
    plan: platformOnly(given(segment, planReference)),
    status: platformOnly(given(z.enum(TENANT_STATUSES), z.enum(TENANT_STATUSES).optional())),
    owner: ownerOnly(email),
    ownerName: ownerOnly(given(z.string().max(200), text(200))),
    ownerUserId: ownerOnly(z.string().max(128).optional()),
    usagePercent: createOnly(platformOnly(
      percent.optional().meta({
        description: "The highest usage percentage of the current month's metrics. Absent until it has been computed.",
      }),
    )),
    mrr: platformOnly(given(mrr, mrr.optional())),
    mrrSource: byServer(z.enum(["plan", "explicit"]).default("plan")),
    branding: given(branding.optional(), brandingInput.optional()),
    settings: given(metadata.optional(), ownSettings.optional()),
    metadata: metadata.optional().meta({
      description: "At most 50 names, each with a value of at most 500 characters. The tenant sees it.",
    }),
    maintenance: platformOnly(maintenance),
    created: byServer(day),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
    trialEndsAt: platformOnly(instant.optional()),
    suspendedAt: byServer(instant.optional()),
    unsuspendedAt: byServer(instant.optional()),
    suspensionReason: platformOnly(given(z.string().max(500).optional(), text(500).optional())),
    /** The status that `unsuspend` restores. */
    suspendedFrom: byServer(z.enum(["trial", "active"]).optional()),
    cancelledAt: byServer(instant.optional()),
    legalHolds: byServer(z.int().min(0).optional().meta({ description: "The number of active legal holds on the tenant." })),
  }),
  owner: "self",
  filterable: ["status", "plan", "region", "owner", "subdomain", "customDomain", "mrr", "usagePercent", "trialEndsAt"],
  sortable: ["name", "subdomain", "status", "plan", "region", "owner", "mrr", "usagePercent", "createdAt", "trialEndsAt"],
  searchable: ["name", "subdomain", "owner", "ownerName"],
  indexes: [
    ["createdAt"],
    ["name"],
    ["subdomain"],
    ["mrr"],
    ["usagePercent"],
    ["owner"],
    ["trialEndsAt"],
    ["status", "createdAt"],
    ["status", "name"],
    ["status", "mrr"],
    ["plan", "createdAt"],
    ["plan", "name"],
    ["plan", "mrr"],
    ["region", "createdAt"],
    ["status", "plan", "createdAt"],
    ["status", "plan", "mrr"],
  ],
  rollup: { groupBy: ["status", "plan"], sum: "mrr" },
  exported: true,
  personal: ["owner", "ownerName"],
  subjects: { userId: "ownerUserId", email: "owner" },
  example: {
    id: "tn_1767225600000_a1b2c3d4e5f6",
    name: "Hotel Aurora",
    subdomain: "aurora",
    region: "eu-west-1",
    plan: "Pro",
    status: "active",
    owner: "owner@aurora.example",
    ownerName: "Ada Auer",
    usagePercent: 42,
    mrr: 299,
    mrrSource: "plan",
    created: "2026-01-01",
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Tenant = RecordOf<typeof tenant>;
export type TenantStatus = (typeof TENANT_STATUSES)[number];

/** The short id of a tenant, from `tenant:tn_1` or `tn_1`. */
export function shortTenantId(id: string): string {
  return id.replace(/^tenant:/, "");
}
