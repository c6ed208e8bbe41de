import { z } from "zod";
import { auditEntry } from "../../core/audit-entry.ts";
import { checkPaging, integer, moment, pageParams, pagination } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { pageOf } from "../../core/schemas.ts";
import { segment } from "../../core/values.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { MAX_PART } from "./chain.ts";
import { AuditService } from "./service.ts";

const tenantId = z.string().transform(shortTenantId).pipe(segment).optional()
  .meta({ description: "Id of the tenant, short or as its full key." });
const text = (description: string) => z.string().min(1).max(512).optional().meta({ description });
const listQuery = checkPaging(z.strictObject({
  tenantId,
  resource: text("Kind of the record, such as `tenant`."),
  resourceId: text("Id of the record."),
  actorId: text("Id of who did it."),
  actorEmail: text("Email address of who did it."),
  action: z.string().regex(/^(\*|[a-z0-9._-]+\*?)$/, "must be a dotted name, with * at its end at most").optional()
    .meta({ description: "What was done; `tenant.*` is every action on tenants.", examples: ["tenant.created"] }),
  from: moment("from").optional(),
  to: moment("to").optional(),
  ...pageParams,
}));

const verifyQuery = z.strictObject({
  tenantId,
  limit: integer(1, MAX_PART).optional().meta({ description: `Entries to check, at most; ${MAX_PART} when left out.` }),
  cursor: pageParams.cursor.meta({ description: "From nextCursor of the part before: goes on after it." }),
});
const report = z.object({
  ok: z.boolean().meta({ description: "Whether every entry of this part stands. The chain does when that of all its parts is true." }),
  checked: z.int().meta({ description: "Entries of this part that stand, up to the first that does not." }),
  firstBroken: z.object({ id: z.string(), seq: z.int().meta({ description: "Its place in the chain, from 1." }), reason: z.string() })
    .optional(),
  nextCursor: z.string().optional().meta({ description: "Goes on after this part; absent at the end of the chain." }),
}).meta({ examples: [{ ok: true, checked: 1200 }] });

/** The audit log: append-only, a hash chain for each tenant and one for the platform. */
export const routes: readonly Route[] = [
  verb("GET /v1/audit", {
    service: AuditService,
    operationId: "listAuditEntries",
    summary: "List audit entries, newest first",
    description: "Without a tenant a platform admin sees every scope. A tenant's own users see their tenant's.",
    scope: "read:audit",
    query: listQuery,
    output: pageOf(auditEntry),
    run: async ({ service, query: { page, limit, cursor, tenantId: _, actorId: userId, actorEmail: userEmail, ...rest }, tenantId }) =>
      await service.list(tenantId ?? undefined, pagination({ page, limit, cursor }), given({ ...rest, userId, userEmail })),
  }),
  verb("GET /v1/audit/verify", {
    service: AuditService,
    operationId: "verifyAuditChain",
    summary: "Verify a hash chain and name its first broken link",
    description: "The tenant's chain, a deleted tenant's too, or without a tenant the platform's. A long chain is checked in parts: " +
      "go on with nextCursor until there is none.",
    scope: "read:audit",
    query: verifyQuery,
    output: report,
    errors: ["not_found", "invalid_cursor"],
    run: async ({ service, query: { limit, cursor }, tenantId }) => await service.verifyPart(tenantId ?? undefined, { limit, cursor }),
  }),
];

function given<T extends object>(filters: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
