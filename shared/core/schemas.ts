import { z } from "zod";
import { adminUser } from "../features/admins/entity.ts";
import { auditEntry } from "./audit-entry.ts";
import { plan } from "../features/plans/entity.ts";
import { subscription } from "../features/subscriptions/entity.ts";
import { tenant } from "../features/tenants/entity.ts";
import { usageRecord } from "../features/usage/entity.ts";
import { instant } from "./values.ts";
import { ERROR_KINDS } from "../kernel/errors.ts";

/** The schemas the OpenAPI file shows as named components. */
export const components = new Map<z.ZodType, string>();

function component<S extends z.ZodType>(id: string, schema: S): S {
  components.set(schema, id);
  return schema;
}

/** The store's versionstamp, the same as in the ETag. */
const version = z.string().meta({ description: "The record's version, as in the ETag." });

export const tenantRecord = component("Tenant", tenant.schema.extend({ version }));
export const planRecord = component("Plan", plan.schema.extend({ version }));
export const subscriptionRecord = component("Subscription", subscription.schema.extend({ version }));
export const adminRecord = component("AdminUser", adminUser.schema.extend({ version }));
export const auditRecord = component("AuditEntry", auditEntry.schema.extend({ version }));
export const usageView = component(
  "UsageRecord",
  usageRecord.schema.extend({
    version: version.nullable(),
    percentage: z.int().min(0).max(100),
    resetsAt: instant,
  }),
);

export const pagination = component(
  "Pagination",
  z.object({
    limit: z.int(),
    hasNext: z.boolean(),
    nextCursor: z.string().optional(),
    page: z.int().optional(),
    total: z.int().optional(),
    totalPages: z.int().optional(),
    hasPrev: z.boolean().optional(),
  }),
);

export function pageOf<S extends z.ZodType>(id: string, item: S) {
  return component(id, z.object({ data: z.array(item), pagination }));
}

export const problem = component(
  "Problem",
  z.looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string(),
    instance: z.string(),
    code: z.enum(Object.keys(ERROR_KINDS) as [keyof typeof ERROR_KINDS]),
    requestId: z.string(),
    errors: z.array(z.object({ path: z.string(), message: z.string(), code: z.string() })).optional(),
  }),
);
