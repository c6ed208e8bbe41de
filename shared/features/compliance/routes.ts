import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { type CreateInput, inputsOf } from "../../core/fields.ts";
import { listArguments, listQuery } from "../../core/list-query.ts";
import { type Route, type ServiceClass, verb } from "../../core/route.ts";
import { component, pageOfViews, recordOf, viewOf } from "../../core/schemas.ts";
import { segment } from "../../core/values.ts";
import { complianceRequest, deletionCertificate, REQUEST_STATUSES } from "./entity.ts";
import { ComplianceService, DeletionCertificateService, type RequestView } from "./service.ts";

type Use = <U>(other: ServiceClass<U>) => U;

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
const kind = {
  entity: z.string().meta({ description: "The kind of records." }),
  pattern: z.string().meta({ description: "The pattern of their keys." }),
};
const preview = component(
  "DeletionPreview",
  z.object({
    tenantId: segment,
    legalHold: z.boolean().meta({ description: "Whether a legal hold prevents the deletion now." }),
    records: z.array(z.object({
      ...kind,
      deleted: z.int().meta({ description: "The number of records that would be deleted." }),
      kept: z.int().meta({ description: "The number of records that would be kept." }),
      ground: z.string().optional().meta({ description: "On what ground they would be kept." }),
    })),
  }),
  () => ({
    tenantId: complianceRequest.example.tenantId,
    legalHold: false,
    records: [{ entity: "subscription", pattern: "subscription:{tenantId}", deleted: 1, kept: 0 }],
  }),
);
const check = component(
  "DeletionCheck",
  z.object({
    id: segment,
    valid: z.boolean().meta({ description: "Whether the certificate is as the platform signed it." }),
    remaining: z.int().meta({ description: "The number of records of the tenant that should have been deleted and exist: 0." }),
    found: z.array(z.object({ ...kind, count: z.int().meta({ description: "The number of records." }) })),
  }),
  () => ({ id: deletionCertificate.example.id, valid: true, remaining: 0, found: [] }),
);
const certificates = "/v1/deletion-certificates";
const ofCertificate = {
  service: DeletionCertificateService,
  scope: "read:compliance",
  platformOnly: true,
  sample: {
    ids: async (_: unknown, { tenantId = "" }: Readonly<Record<string, string>>, use: Use) => {
      const requests = use(ComplianceService);
      const { id } = await requests.createRequest(tenantId, "deletion", "sample", undefined, { gracePeriodDays: 0 });
      return { deletionCertificateId: (await requests.process(id))?.certificateId ?? "" };
    },
  },
} as const;
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
    summary: "Request an export or the deletion of a tenant's data, a rectification or a restriction",
    description:
      "The job `compliance` makes an export, and a deletion after its grace period. Get the request again for its progress and the link. " +
      "Of a tenant's own users, only the owner can request its deletion.",
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
    description: "Of a tenant's own users, only the owner can withdraw a deletion, and nobody one that the platform has requested.",
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
  verb("GET /v1/tenants/:tenantId/deletion-preview", {
    service: ComplianceService,
    operationId: "previewDeletion",
    summary: "Count what the deletion of a tenant would remove and keep",
    description: "Nothing is written.",
    scope: "read:compliance",
    openWhenSuspended: true,
    resource: "tenant",
    output: preview,
    run: async ({ service, params }) => await service.previewDeletion(params.tenantId),
  }),
  ...crud(deletionCertificate, {
    path: certificates,
    scope: "compliance",
    service: DeletionCertificateService,
    only: ["list"],
    platformOnly: ["list"],
    sample: {},
  }),
  verb(`GET ${certificates}/:deletionCertificateId`, {
    ...ofCertificate,
    operationId: "getDeletionCertificate",
    summary: "Get the certificate of a deletion",
    loads: [deletionCertificate],
    output: recordOf(deletionCertificate),
    run: async ({ service, params }) => await service.get(params.deletionCertificateId),
  }),
  verb(`GET ${certificates}/:deletionCertificateId/verify`, {
    ...ofCertificate,
    operationId: "verifyDeletionCertificate",
    summary: "Check the signature of a certificate, and count again what the store has of the deleted tenant",
    resource: "deletion certificate",
    output: check,
    run: async ({ service, params }) => await service.verify(params.deletionCertificateId) as never,
  }),
];
