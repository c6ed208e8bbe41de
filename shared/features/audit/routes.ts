import { z } from "zod";
import { auditEntry } from "../../core/audit-entry.ts";
import { checkPaging, integer, moment, pageParams, pagination } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { pageOf } from "../../core/schemas.ts";
import { segment } from "../../core/values.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { MAX_PART } from "./chain.ts";
import { auditFilters } from "./entity.ts";
import { EXPORT_TYPES } from "./export.ts";
import { AuditService } from "./service.ts";

const tenantId = z.string().transform(shortTenantId).pipe(segment).optional()
  .meta({ description: "The tenant's id, short or as its full key." });
const filters = { tenantId, ...auditFilters, from: moment("from").optional(), to: moment("to").optional() };
const listQuery = checkPaging(z.strictObject({ ...filters, ...pageParams }));

const verifyQuery = z.strictObject({
  tenantId,
  limit: integer(1, MAX_PART).optional().meta({ description: `The maximum number of entries to check. Default: ${MAX_PART}.` }),
  cursor: pageParams.cursor.meta({ description: "The `nextCursor` of the previous part." }),
});
const report = z.object({
  ok: z.boolean().meta({ description: "Whether every entry of this part is valid. The chain is valid if all its parts are." }),
  checked: z.int().meta({ description: "The number of valid entries of this part, up to the first invalid one." }),
  deletedTo: z.int().optional().meta({
    description: "Retention deleted the entries up to this one. A checkpoint has its hash. Absent if the chain is complete.",
  }),
  firstBroken: z.object({ id: z.string(), seq: z.int().meta({ description: "Position in the chain, from 1." }), reason: z.string() })
    .optional(),
  nextCursor: z.string().optional().meta({ description: "The cursor of the next part. Absent at the end of the chain." }),
}).meta({ examples: [{ ok: true, checked: 1200 }] });

/** The audit log: append-only, a hash chain for each tenant and one for the platform. */
export const routes: readonly Route[] = [
  verb("GET /v1/audit", {
    service: AuditService,
    operationId: "listAuditEntries",
    summary: "List audit entries, newest first",
    description:
      "Without `tenantId`, a platform admin gets the entries of all tenants and of the platform. A tenant's users get their tenant's. " +
      "Entries on API keys and compliance requests need `read:api-keys` and `read:compliance` too; else they are left out.",
    scope: "read:audit",
    query: listQuery,
    output: pageOf(auditEntry),
    run: async ({ service, query: { page, limit, cursor, tenantId: _, actorId: userId, actorEmail: userEmail, ...rest }, tenantId }) =>
      await service.read(tenantId ?? undefined, pagination({ page, limit, cursor }), given({ ...rest, userId, userEmail })),
  }),
  verb("GET /v1/audit/export", {
    service: AuditService,
    operationId: "exportAuditEntries",
    summary: "Export audit entries, oldest first",
    description:
      "Sends NDJSON, one stored entry a line, or with `Accept: text/csv` CSV. The file can be verified without the program's database: " +
      "`npm run verify-export`, if it is complete: without filters, and for a caller with `read:api-keys` and `read:compliance`. " +
      "Without `tenantId`, a platform admin gets the entries of all chains. Each export is audited.",
    scope: "read:audit",
    query: z.strictObject(filters),
    files: EXPORT_TYPES,
    run: async ({ service, query: { tenantId: _, actorId: userId, actorEmail: userEmail, ...rest }, tenantId, mediaType }) =>
      await service.download(tenantId ?? undefined, given({ ...rest, userId, userEmail }), mediaType),
  }),
  verb("GET /v1/audit/verify", {
    service: AuditService,
    operationId: "verifyAuditChain",
    summary: "Verify a hash chain",
    description:
      "Checks the chain of the tenant, which may be deleted, or without `tenantId` that of the platform. A long chain is checked in parts: " +
      "repeat with `cursor` set to `nextCursor` until there is none.",
    scope: "read:audit",
    query: verifyQuery,
    output: report,
    errors: ["not_found", "invalid_cursor"],
    run: async ({ service, query: { limit, cursor }, tenantId }) => await service.checkPart(tenantId ?? undefined, { limit, cursor }),
  }),
];

function given<T extends object>(filters: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
