import { z } from "zod";
import { tenant, TENANT_STATUSES } from "./entity.ts";
import { tenantCreate, tenantUpdate } from "./input.ts";
import type { ErrorCode } from "../../kernel/errors.ts";
import { errors } from "../../kernel/errors.ts";
import { subdomainClaim } from "./claims.ts";
import type { Services } from "../../container.ts";
import { domainProblem, type HostRules, subdomainProblem } from "./host-names.ts";
import { defineRoute, type Route } from "../../core/route.ts";
import { checked, flag, listArguments, listQuery } from "../../core/list-query.ts";
import { assertOwnFields, claimKey, nameOfHost } from "../../../functions/api/tenant-scope.ts";
import { answer, created, page, record } from "../../core/reply.ts";
import { pageOf, tenantRecord } from "../../core/schemas.ts";

const subdomain = checked(tenantCreate.shape.subdomain, subdomainProblem);
const customDomain = checked(z.string(), domainProblem);
const createBody = tenantCreate.extend({ subdomain, customDomain: customDomain.optional() });
const updateBody = tenantUpdate.extend({ subdomain: subdomain.optional(), customDomain: customDomain.nullable().optional() });

const stats = z.object({
  total: z.int(),
  byStatus: z.record(z.enum(TENANT_STATUSES), z.int()),
  byPlan: z.record(z.string(), z.int()),
  totalMrr: z.number(),
  currency: z.string(),
});
const removal = z.object({
  tenantId: z.string(),
  dryRun: z.boolean(),
  removed: z.record(z.string(), z.int()),
  kept: z.array(z.string()),
});
const resolveQuery = z.strictObject({
  host: z.string().min(1).max(300).optional(),
  subdomain: z.string().min(1).max(63).optional(),
  id: z.string().min(1).max(300).optional(),
}).refine((given) => Object.keys(given).length === 1, "give exactly one of host, subdomain and id");

const names: readonly ErrorCode[] = ["subdomain_taken", "domain_taken", "plan_inactive"];
const one = { 200: { description: "The tenant.", schema: tenantRecord } };

/** Tenants and their states. Ids may be short or full keys. */
export function tenantRoutes(hosts: HostRules): Route[] {
  return [
    defineRoute({
      method: "GET",
      path: "/v1/tenants",
      operationId: "listTenants",
      summary: "Tenants: filtered, searched, sorted, paged",
      scope: "read:tenants",
      query: listQuery(tenant),
      responses: { 200: { description: "A page of tenants.", schema: pageOf("TenantPage", tenantRecord) } },
      handler: async ({ query, services }) => page(await services.TenantService.list(...listArguments(query))),
    }),
    defineRoute({
      method: "POST",
      path: "/v1/tenants",
      operationId: "createTenant",
      scope: "write:tenants",
      platformOnly: true,
      summary: "Create a tenant with its subscription and usage records, in one commit",
      body: createBody,
      errors: [...names, "already_exists", "tenant_deleted"],
      responses: { 201: { description: "The new tenant.", schema: tenantRecord } },
      handler: async ({ body, services }) => {
        const made = await services.TenantService.create(body);
        return created(made, `/v1/tenants/${made.id}`);
      },
    }),
    defineRoute({
      method: "GET",
      path: "/v1/tenants/stats",
      operationId: "tenantStats",
      summary: "Counts by status and plan, and total monthly revenue",
      scope: "read:tenants",
      platformOnly: true,
      responses: { 200: { description: "The figures.", schema: stats } },
      handler: async ({ services }) => answer(await services.TenantService.stats()),
    }),
    defineRoute({
      method: "GET",
      path: "/v1/tenants/resolve",
      operationId: "resolveTenant",
      summary: "The tenant behind a host, a subdomain or an id",
      scope: "read:tenants",
      query: resolveQuery,
      responses: one,
      handler: async ({ query, services }) => {
        const id = query.id ?? await claimantOf(query, hosts, services);
        return record(await services.TenantService.get(id) ?? missing(id));
      },
    }),
    defineRoute({
      method: "GET",
      path: "/v1/tenants/:tenantId",
      operationId: "getTenant",
      summary: "One tenant",
      scope: "read:tenants",
      responses: one,
      handler: async ({ params, services }) => record(await services.TenantService.get(params.tenantId) ?? missing(params.tenantId)),
    }),
    defineRoute({
      method: "PATCH",
      path: "/v1/tenants/:tenantId",
      operationId: "updateTenant",
      summary: "Change a tenant by JSON merge patch",
      description:
        "A tenant's own admin may not change status, plan, revenue, the custom domain or the owner; its owner may change the owner.",
      scope: "write:tenants",
      body: updateBody,
      errors: [...names, "invalid_transition"],
      responses: one,
      handler: async ({ params, body, services, caller, ifMatch }) => {
        assertOwnFields(caller, "tenant", body);
        return record(await services.TenantService.update(params.tenantId, body, { ifMatch }) ?? missing(params.tenantId));
      },
    }),
    defineRoute({
      method: "DELETE",
      path: "/v1/tenants/:tenantId",
      operationId: "deleteTenant",
      summary: "Delete a tenant and everything it owns",
      scope: "write:tenants",
      platformOnly: true,
      query: z.strictObject({ dryRun: flag.optional() }),
      errors: ["legal_hold"],
      responses: { 200: { description: "What went, or with `dryRun=true` what would, by kind.", schema: removal } },
      handler: async ({ params, query, services, ifMatch }) => {
        const report = await services.TenantService.remove(params.tenantId, { ifMatch, dryRun: query.dryRun ?? false });
        return answer(report ? { ...report, kept: [...report.kept] } : missing(params.tenantId));
      },
    }),
    ...statusRoutes,
  ];
}

const step = { scope: "write:tenants", platformOnly: true, errors: ["invalid_transition"], responses: one } as const;

const statusRoutes: Route[] = [
  defineRoute({
    ...step,
    method: "POST",
    path: "/v1/tenants/:tenantId/suspend",
    operationId: "suspendTenant",
    summary: "Suspend a tenant: its own users are refused at once",
    body: z.strictObject({ reason: z.string().trim().min(1).max(500) }),
    handler: async ({ params, body, services, ifMatch }) =>
      record(await services.TenantService.suspend(params.tenantId, body.reason, { ifMatch }) ?? missing(params.tenantId)),
  }),
  defineRoute({
    ...step,
    method: "POST",
    path: "/v1/tenants/:tenantId/unsuspend",
    operationId: "unsuspendTenant",
    summary: "Restore the state before the suspension",
    handler: async ({ params, services, ifMatch }) =>
      record(await services.TenantService.unsuspend(params.tenantId, { ifMatch }) ?? missing(params.tenantId)),
  }),
  defineRoute({
    ...step,
    method: "POST",
    path: "/v1/tenants/:tenantId/cancel",
    operationId: "cancelTenant",
    summary: "Cancel a tenant: its own users are refused at once",
    handler: async ({ params, services, ifMatch }) =>
      record(await services.TenantService.cancel(params.tenantId, { ifMatch }) ?? missing(params.tenantId)),
  }),
  defineRoute({
    ...step,
    method: "POST",
    path: "/v1/tenants/:tenantId/reactivate",
    operationId: "reactivateTenant",
    summary: "Bring a cancelled tenant back",
    handler: async ({ params, services, ifMatch }) =>
      record(await services.TenantService.reactivate(params.tenantId, { ifMatch }) ?? missing(params.tenantId)),
  }),
];

/** Who holds a name, by its claim alone: the id of one tenant may read like the subdomain of another. */
async function claimantOf(query: z.output<typeof resolveQuery>, hosts: HostRules, { kv }: Services): Promise<string> {
  const name = query.subdomain !== undefined ? { subdomain: query.subdomain.toLowerCase() } : nameOfHost(query.host ?? "", hosts);
  const asked = query.subdomain ?? query.host ?? "";
  const key = name && claimKey(name);
  const claim = key && await kv.get(key);
  return claim ? subdomainClaim.schema.pick({ tenantId: true }).parse(claim).tenantId : missing(asked);
}

function missing(id: string): never {
  throw errors.notFound("tenant", id);
}
