import { z } from "zod";
import { type CreateInput, inputsOf } from "../../core/fields.ts";
import { listArguments, listQuery } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { pageOfViews, viewOf } from "../../core/schemas.ts";
import { segment } from "../../core/values.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { tenantOfBody } from "../tenants/of-body.ts";
import { auditExport } from "./entity.ts";
import { AuditExportService, type ExportView } from "./service.ts";

const path = "/v1/audit/exports";
const view = viewOf(auditExport, {
  downloadUrl: z.string().optional().meta({
    description: "The signed link of a completed export, until `expiresAt`. Whoever has it can download the file.",
  }),
});
const page = pageOfViews("AuditExportPage", view);
const tenantId = z.string().transform(shortTenantId).pipe(segment).optional()
  .meta({ description: "The tenant's id, short or as its full key." });
const one = { service: AuditExportService, resource: "audit export", loads: [auditExport] } as const;

/** The link as the caller can request it. */
function shown<E extends ExportView | null>(found: E, external: (path: string) => string): E {
  return found?.downloadUrl ? { ...found, downloadUrl: external(found.downloadUrl) } : found;
}

/** Exports of the audit log that a job writes, for logs that are too long for one response. */
export const routes: readonly Route[] = [
  verb(`GET ${path}`, {
    service: AuditExportService,
    operationId: "listAuditExports",
    summary: "List exports of the audit log",
    description: "Without `tenantId`, a platform caller gets the exports of the platform and of all tenants.",
    scope: "read:audit",
    query: listQuery(auditExport).safeExtend({ tenantId }),
    output: page,
    run: async ({ service, query: { tenantId: _, ...query }, tenantId, external }) => {
      const found = await service.list(tenantId ?? undefined, ...listArguments(query as Parameters<typeof listArguments>[0]));
      return { ...found, data: found.data.map((each) => shown(each, external)) } as never;
    },
  }),
  verb(`POST ${path}`, {
    service: AuditExportService,
    operationId: "createAuditExport",
    summary: "Request an export of the audit log to a file",
    description: "The job `audit-exports` writes the file, which has the same content as `GET /v1/audit/export` would send when the job " +
      "begins. Get the export again for its progress and the link.",
    scope: "write:audit",
    input: inputsOf(auditExport).create,
    output: view,
    errors: ["too_many_exports"],
    accepted: ({ id }) => `${path}/${id}`,
    sample: { body: { tenantId: auditExport.example.tenantId, format: "csv" } },
    run: async ({ service, body, tenantId, caller, options, external }) => {
      const given = body as unknown as CreateInput<typeof auditExport>;
      const own = tenantOfBody(given.tenantId, tenantId, caller);
      return shown(await service.create({ ...given, ...(own === undefined ? {} : { tenantId: own }) }, options), external) as never;
    },
  }),
  verb(`GET ${path}/:auditExportId`, {
    ...one,
    operationId: "getAuditExport",
    summary: "Get an export: its status and progress, and the link of a completed one",
    scope: "read:audit",
    output: view,
    run: async ({ service, params, external }) => shown(await service.get(params.auditExportId), external) as never,
  }),
  verb(`POST ${path}/:auditExportId/cancel`, {
    ...one,
    operationId: "cancelAuditExport",
    summary: "Cancel an export that is not complete",
    scope: "write:audit",
    output: view,
    errors: ["invalid_transition"],
    run: async ({ service, params, options }) => await service.cancel(params.auditExportId, options) as never,
  }),
];
