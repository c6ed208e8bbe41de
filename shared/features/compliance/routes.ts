import { z } from "zod";
import { type CreateInput, inputsOf } from "../../core/fields.ts";
import { listArguments, listQuery } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { pageOfViews, viewOf } from "../../core/schemas.ts";
import { complianceRequest, REQUEST_STATUSES } from "./entity.ts";
import { ComplianceService, type RequestView } from "./service.ts";

const path = "/v1/tenants/:tenantId/compliance";
const one = `${path}/:complianceRequestId` as const;
const view = viewOf(complianceRequest, {
  overdue: z.boolean().meta({ description: "Whether the request is open after its due date.", examples: [false] }),
  remainingDays: z.int().nullable().meta({
    description: "Whole days until the due date, below 0 after it; null for a request that is answered.",
    examples: [null],
  }),
  downloadUrl: z.string().optional().meta({
    description: "The signed link of a completed export, until `expiresAt`. Whoever has it can download the archive.",
  }),
});
const page = pageOfViews("ComplianceRequestPage", view);
const statusInput = z.strictObject({
  status: z.enum(REQUEST_STATUSES),
  progress: z.int().min(0).max(100).optional().meta({ description: "Percent." }),
  error: z.string().trim().min(1).max(1_000).optional().meta({ description: "Why the request has failed. Required with `failed`." }),
});
const of = { service: ComplianceService, resource: "compliance request", loads: [complianceRequest] } as const;
const keyOf = ({ tenantId = "", complianceRequestId = "" }: Readonly<Record<string, string>>) => (
  `compliance:${tenantId}:${complianceRequestId}`
);

/** The link as the caller can request it. */
function shown<R extends RequestView | null>(request: R, external: (path: string) => string): R {
  if (!request?.downloadUrl) return request;
  return { ...request, downloadUrl: external(request.downloadUrl) };
}

/** The rights under data protection law do not end with a suspension, so everything but the status is open then. */
export const routes: readonly Route[] = [
  verb(`GET ${path}`, {
    service: ComplianceService,
    operationId: "listComplianceRequests",
    summary: "List a tenant's requests under data protection law",
    scope: "read:compliance",
    openWhenSuspended: true,
    query: listQuery(complianceRequest),
    output: page,
    run: async ({ service, params, query, external }) => {
      const found = await service.list(params.tenantId, ...listArguments(query));
      return { ...found, data: found.data.map((request) => shown(request, external)) } as never;
    },
  }),
  verb(`POST ${path}`, {
    service: ComplianceService,
    operationId: "createComplianceRequest",
    summary: "Request an export of a tenant's data, a rectification or a restriction",
    description: "The job `compliance` makes the export. Get the request again for its progress and the link.",
    scope: "write:compliance",
    openWhenSuspended: true,
    input: inputsOf(complianceRequest).create,
    output: view,
    accepted: ({ tenantId, id }) => `/v1/tenants/${tenantId}/compliance/${id}`,
    sample: { body: { type: "export", dataTypes: ["subscription"] } },
    run: async ({ service, params, body, caller, options }) => {
      const { type, ...given } = body as unknown as CreateInput<typeof complianceRequest>;
      return await service.createRequest(params.tenantId, type, caller.actor.id, caller.actor.email, { ...given, ...options }) as never;
    },
  }),
  verb(`GET ${one}`, {
    ...of,
    operationId: "getComplianceRequest",
    summary: "Get a request: its status, progress and due date, and the link of a completed export",
    scope: "read:compliance",
    openWhenSuspended: true,
    output: view,
    run: async ({ service, params, external }) => shown(await service.get(params.tenantId, params.complianceRequestId), external) as never,
  }),
  verb(`PATCH ${one}`, {
    ...of,
    operationId: "updateComplianceRequest",
    summary: "Set the status of a request that people handle",
    scope: "write:compliance",
    platformOnly: true,
    input: statusInput,
    output: view,
    errors: ["invalid_transition"],
    sample: { body: { status: "processing", progress: 50 } },
    run: async ({ service, params, body: { status, ...step }, options }) => (
      await service.updateStatus(keyOf(params), status, { ...step, ...options }) as never
    ),
  }),
  verb(`POST ${one}/cancel`, {
    ...of,
    operationId: "cancelComplianceRequest",
    summary: "Withdraw an open request",
    scope: "write:compliance",
    openWhenSuspended: true,
    output: view,
    errors: ["invalid_transition"],
    run: async ({ service, params, options }) => await service.cancel(keyOf(params), options) as never,
  }),
  verb(`GET ${one}/download`, {
    ...of,
    operationId: "downloadComplianceExport",
    summary: "Download the archive of a completed export",
    description:
      "A ZIP archive with one file for each kind of records, and `manifest.json`: the number of records, the SHA-256 and the JSON " +
      "Schema of each file. Each download is audited.",
    scope: "read:compliance",
    openWhenSuspended: true,
    files: ["application/zip"],
    errors: ["export_not_ready", "link_expired"],
    sample: { prepare: (service, params) => service.process(keyOf(params)) },
    run: async ({ service, params }) => await service.download(params.tenantId, params.complianceRequestId) ?? false,
  }),
];
