import { z } from "zod";
import { defineEntity } from "../../kv/define.ts";
import type { RecordOf } from "../../kv/define.ts";
import { email, instant, majorUnits, metadata, percent, segment } from "../../core/values.ts";

export const TENANT_STATUSES = ["pending", "trial", "active", "suspended", "cancelled"] as const;
export const REGIONS = ["us-east-1", "us-west-2", "eu-west-1", "ap-southeast-1", "ap-northeast-1"] as const;

export const branding = z.looseObject({
  logoUrl: z.url().optional(),
  primaryColor: z.string().regex(/^#[0-9a-fA-F]{6}$/, "must be #rrggbb").optional(),
});

export const tenant = defineEntity({
  name: "tenant",
  summary: "A customer of the platform. It owns everything stored under its id.",
  key: "tenant:{id}",
  schema: z.looseObject({
    id: segment,
    name: z.string().min(1).max(200),
    billingEntity: z.string().max(200).optional(),
    subdomain: z.string(),
    customDomain: z.string().optional(),
    region: z.enum(REGIONS).optional(),
    plan: segment,
    status: z.enum(TENANT_STATUSES),
    owner: email,
    ownerName: z.string().max(200),
    ownerUserId: z.string().max(128).optional(),
    usagePercent: percent.default(0),
    mrr: majorUnits,
    mrrSource: z.enum(["plan", "explicit"]).default("plan"),
    branding: branding.optional(),
    settings: metadata.optional(),
    metadata: metadata.optional(),
    created: z.iso.date(),
    createdAt: instant,
    updatedAt: instant.optional(),
    trialEndsAt: instant.optional(),
    suspendedAt: instant.optional(),
    unsuspendedAt: instant.optional(),
    suspensionReason: z.string().max(500).optional(),
    /** The state `unsuspend` restores. */
    suspendedFrom: z.enum(["trial", "active"]).optional(),
    cancelledAt: instant.optional(),
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

/** `tenant:tn_1` and `tn_1` name the same tenant: the short of the two. */
export function shortTenantId(id: string): string {
  return id.replace(/^tenant:/, "");
}
