import { z } from "zod";
import { shortTenantId } from "../tenants/entity.ts";
import { segment } from "../../core/values.ts";
import { defineRoute, type Route } from "../../core/route.ts";
import { checkPaging, moment, pageParams, pagination } from "../../core/list-query.ts";
import { answer, page } from "../../core/reply.ts";
import { auditRecord, pageOf } from "../../core/schemas.ts";

const tenantId = z.string().transform(shortTenantId).pipe(segment).optional();
const text = z.string().min(1).max(512).optional();
const listQuery = checkPaging(z.strictObject({
  tenantId,
  resource: text,
  resourceId: text,
  actorId: text,
  action: z.string().regex(/^(\*|[a-z0-9._-]+\*?)$/, "is a dotted name, with * at its end at most").optional(),
  from: moment("from").optional(),
  to: moment("to").optional(),
  ...pageParams,
}));

const report = z.object({
  ok: z.boolean(),
  checked: z.int(),
  firstBroken: z.object({ id: z.string(), seq: z.int(), reason: z.string() }).optional(),
});

/** The audit log: append-only, a hash chain for each tenant and one for the platform. */
export const auditRoutes: Route[] = [
  defineRoute({
    method: "GET",
    path: "/v1/audit",
    operationId: "listAudit",
    summary: "Audit entries, newest first",
    scope: "read:audit",
    query: listQuery,
    description: "Without a tenant a platform admin sees every scope. A tenant's own users see their tenant's.",
    responses: { 200: { description: "A page of entries.", schema: pageOf("AuditPage", auditRecord) } },
    handler: async ({ query: { page: number, limit, cursor, tenantId: _, actorId: userId, ...rest }, services, tenantId }) =>
      page(
        await services.AuditService.list(tenantId ?? undefined, pagination({ page: number, limit, cursor }), given({ ...rest, userId })),
      ),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/audit/verify",
    operationId: "verifyAudit",
    summary: "Walk a hash chain and name its first broken link",
    scope: "read:audit",
    description: "The tenant's chain, or without a tenant the platform's.",
    query: z.strictObject({ tenantId }),
    responses: { 200: { description: "Whether the chain holds.", schema: report } },
    handler: async ({ services, tenantId }) => answer(await services.AuditService.verify(tenantId ?? undefined)),
  }),
];

function given<T extends object>(filters: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
