import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { flag } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { recordOf } from "../../core/schemas.ts";
import { entitlements } from "../entitlements/entity.ts";
import { subscription } from "../subscriptions/entity.ts";
import { tenant, TENANT_STATUSES } from "./entity.ts";
import { nameOfHost } from "./host-names.ts";
import { overview } from "./overview.ts";
import { TenantService } from "./service.ts";

const record = recordOf(tenant);
const stats = z.object({
  total: z.int().meta({ description: "Number of tenants." }),
  byStatus: z.record(z.enum(TENANT_STATUSES), z.int().meta({ description: "Number of tenants with this status." })),
  byPlan: z.record(z.string(), z.int().meta({ description: "Number of tenants on this plan." })),
  totalMrr: z.number().meta({ description: "Monthly revenue of active and trial tenants, in the major unit of `currency`." }),
  currency: z.string().meta({ description: "ISO 4217 code." }),
}).meta({
  examples: [{
    total: 2,
    byStatus: { pending: 0, trial: 1, active: 1, suspended: 0, cancelled: 0 },
    byPlan: { Trial: 1, Pro: 1 },
    totalMrr: 299,
    currency: "USD",
  }],
});
const removal = z.object({
  tenantId: z.string(),
  dryRun: z.boolean(),
  removed: z.record(z.string(), z.int().meta({ description: "Number of records of this kind." })),
  kept: z.array(z.string()).meta({ description: "Kinds of records that are retained." }),
}).meta({
  examples: [{
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    dryRun: true,
    removed: { tenant: 1, subscription: 1, "usage-record": 6 },
    kept: ["audit-entry"],
  }],
});
const resolveQuery = z.strictObject({
  host: z.string().min(1).max(300).optional().meta({
    description: "A host name: a subdomain of the platform or a custom domain.",
  }),
  subdomain: z.string().min(1).max(63).optional().meta({ description: "The tenant's subdomain label." }),
  id: z.string().min(1).max(300).optional().meta({ description: "The tenant's id, short or as its full key." }),
}).refine((given) => Object.keys(given).length === 1, "must have exactly one of host, subdomain and id");

const names = ["subdomain_taken", "domain_taken", "plan_inactive"] as const;
const one = { service: TenantService, output: record, loads: [tenant] } as const;
const step = { ...one, scope: "write:tenants", platformOnly: true, errors: ["invalid_transition"] } as const;

/** Tenants and their states. An id may be short or a full key. */
export const routes: readonly Route[] = [
  ...crud(tenant, {
    path: "/v1/tenants",
    scope: "tenants",
    service: TenantService,
    only: ["list", "create", "get", "update"],
    platformOnly: ["create"],
    errors: {
      create: [...names, "plan_full", "signups_disabled", "trials_disabled", "tenant_deleted"],
      update: [...names, "invalid_transition", "subscription_cancelled", "tenant_cancelled", "trial_used", "plan_full", "trials_disabled"],
    },
    descriptions: {
      create: "Creates the tenant with its subscription and usage records in one commit.",
      update:
        "A tenant's own users cannot change status, plan, revenue or custom domain. Among them, only the owner can change the owner's fields.",
    },
    sample: {
      create: (n) => ({ name: "Hotel Sample", subdomain: `sample-${n}`, plan: "Pro", owner: "ada@sample.example", ownerName: "Ada Auer" }),
      update: (n) => ({ name: `Renamed ${n}` }),
    },
  }),
  verb("GET /v1/tenants/:tenantId/overview", {
    service: TenantService,
    operationId: "getTenantOverview",
    summary: "Get a tenant with its plan, subscription, entitlements and this month's usage",
    description: "Everything that an overview page of a tenant shows, except members and alerts, which the API does not store.",
    scope: "read:tenants",
    resource: "tenant",
    output: overview,
    loads: [tenant],
    run: async ({ service, params }) => await service.overview(params.tenantId),
  }),
  verb("DELETE /v1/tenants/:tenantId", {
    service: TenantService,
    operationId: "deleteTenant",
    summary: "Delete a tenant and its records",
    description: "Returns the number of deleted records by kind. With `dryRun=true` it deletes nothing and returns what it would delete.",
    scope: "write:tenants",
    platformOnly: true,
    query: z.strictObject({
      dryRun: flag.optional().meta({ description: "Delete nothing; only return what would be deleted.", default: false }),
    }),
    output: removal,
    loads: [tenant],
    errors: ["legal_hold"],
    sample: { auditEntries: 2 },
    run: async ({ service, params, query, options }) =>
      await service.remove(params.tenantId, { ...options, dryRun: query.dryRun ?? false }),
  }),
  verb("GET /v1/tenants/stats", {
    service: TenantService,
    operationId: "getTenantStats",
    summary: "Count tenants by status and plan, and sum their monthly revenue",
    scope: "read:tenants",
    platformOnly: true,
    output: stats,
    run: ({ service }) => service.stats(),
  }),
  verb("GET /v1/tenants/resolve", {
    service: TenantService,
    operationId: "resolveTenant",
    summary: "Find the tenant of a host, a subdomain or an id",
    scope: "read:tenants",
    resource: "tenant",
    query: resolveQuery,
    output: record,
    sample: { query: "id=:tenantId" },
    run: async ({ service, query, hosts }) => {
      if (query.id !== undefined) return await service.get(query.id);
      const name = query.subdomain === undefined ? nameOfHost(query.host ?? "", hosts) : { subdomain: query.subdomain.toLowerCase() };
      return name && await service.byName(name);
    },
  }),
  verb("POST /v1/tenants/:tenantId/suspend", {
    ...step,
    operationId: "suspendTenant",
    summary: "Suspend a tenant",
    description: "The tenant's users are refused at once. If the tenant is suspended already, only the reason is replaced.",
    input: z.strictObject({ reason: z.string().trim().min(1).max(500) }),
    sample: { body: { reason: "unpaid" } },
    run: async ({ service, params, body, options }) => await service.suspend(params.tenantId, body.reason, options),
  }),
  verb("POST /v1/tenants/:tenantId/unsuspend", {
    ...step,
    operationId: "unsuspendTenant",
    summary: "Restore the state before the suspension",
    sample: { prepare: (service, { tenantId = "" }) => service.suspend(tenantId, "unpaid") },
    run: async ({ service, params, options }) => await service.unsuspend(params.tenantId, options),
  }),
  verb("POST /v1/tenants/:tenantId/cancel", {
    ...step,
    operationId: "cancelTenant",
    summary: "Cancel a tenant",
    description: "The tenant's users are refused at once, and its subscription ends.",
    run: async ({ service, params, options }) => await service.cancel(params.tenantId, options),
  }),
  verb("POST /v1/tenants/:tenantId/reactivate", {
    ...step,
    errors: [...step.errors, "plan_full"],
    loads: [tenant, subscription, entitlements],
    operationId: "reactivateTenant",
    summary: "Reactivate a cancelled tenant",
    description: "A suspended tenant is refused with `invalid_transition`: unsuspend it instead.",
    sample: { prepare: (service, { tenantId = "" }) => service.cancel(tenantId) },
    run: async ({ service, params, options }) => await service.reactivate(params.tenantId, options),
  }),
];
