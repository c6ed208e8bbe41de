import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { inputsOf } from "../../core/fields.ts";
import { checkPaging, pageParams, pagination } from "../../core/list-query.ts";
import { created, replied, type Route, verb } from "../../core/route.ts";
import { pageOf, recordOf } from "../../core/schemas.ts";
import { tenant } from "../tenants/entity.ts";
import { flag, flagOverride } from "./entity.ts";
import { FeatureFlagService } from "./service.ts";
import { evaluationInput, evaluationView, explanationView, tenantEvaluationsView } from "./view.ts";

const path = "/v1/tenants/:tenantId/flags";
const reuseKey = z.boolean().optional().meta({
  description: "Whether the flag may take the key of a deleted one. Send true only if no program reads the old flag any more.",
});

const SAMPLE = { id: "ff_sample", key: "sample-of-overrides", name: "Sample" } as const;
async function sampleFlag(service: FeatureFlagService): Promise<void> {
  if (!await service.get(SAMPLE.id)) await service.create(SAMPLE);
}
async function sampleOverride(service: FeatureFlagService, { tenantId = "" }: Readonly<Record<string, string>>): Promise<void> {
  await sampleFlag(service);
  await service.setOverride(SAMPLE.id, tenantId, { enabled: false });
}
const ofSample = { params: { flagId: SAMPLE.id } } as const;
const one = { service: FeatureFlagService, resource: "flag", loads: [tenant, flag] } as const;
const evaluation = { ...one, scope: "read:flags", readOnly: true } as const;
const override = { ...one, scope: "write:flags", loads: [tenant, flagOverride, flag] } as const;

/** Flags belong to the platform. A tenant gets only what they are for it. */
export const routes: readonly Route[] = [
  ...crud(flag, {
    path: "/v1/flags",
    scope: "flags",
    service: FeatureFlagService,
    platformOnly: ["list", "get"],
    input: { create: inputsOf(flag).create.extend({ reuseKey }) },
    errors: { create: ["flag_key_taken", "flag_key_reserved", "payload_too_large"], delete: ["flag_in_use"] },
    descriptions: {
      create: "The key and the type never change. A new flag is disabled unless `status` says otherwise.",
      update: "The next evaluation in any process uses the change.",
      delete: "Deletes the flag with its overrides. Its key stays reserved.",
    },
    sample: {
      create: (n) => ({ key: `flag-${n}`, name: `Flag ${n}`, status: "enabled", rolloutPercentage: 50 }),
      update: (n) => ({ description: `changed ${n}` }),
    },
  }),
  verb("GET /v1/flags/:flagId/overrides", {
    service: FeatureFlagService,
    operationId: "listFlagOverrides",
    summary: "List the tenants that override a flag",
    scope: "read:flags",
    platformOnly: true,
    loads: [flag],
    query: checkPaging(z.strictObject(pageParams)),
    output: pageOf(flagOverride),
    run: async ({ service, params, query }) => await service.overridesOf(params.flagId, undefined, pagination(query)),
  }),
  verb(`GET ${path}`, {
    service: FeatureFlagService,
    operationId: "listTenantFlags",
    summary: "Evaluate every flag for a tenant",
    description:
      "A tenant's own users do not see flags that are `serverOnly`. The ETag changes with every result and every change of a flag.",
    scope: "read:flags",
    resource: "tenant",
    etag: true,
    output: tenantEvaluationsView,
    run: async ({ service, params }) => await service.evaluateAll(params.tenantId),
  }),
  verb(`PUT ${path}/:flagId`, {
    ...override,
    operationId: "putFlagOverride",
    summary: "Override a flag for one tenant",
    description: "Replaces the tenant's override of the flag, if it has one.",
    input: inputsOf(flagOverride).put,
    output: recordOf(flagOverride),
    location: () => `${path}/:flagId`,
    replaces: true,
    sample: { ...ofSample, prepare: sampleOverride, body: (n) => ({ enabled: true, reason: `Early access ${n}.` }) },
    run: async ({ service, params: { flagId, tenantId }, body, options }) => {
      const put = await service.putOverride(flagId, tenantId, body as never, options);
      return put.created ? created(put.record, `/v1/tenants/${tenantId}/flags/${flagId}`) : replied(put.record);
    },
  }),
  verb(`DELETE ${path}/:flagId`, {
    ...override,
    resource: "flag override",
    operationId: "clearFlagOverride",
    summary: "Clear a tenant's override of a flag",
    sample: { ...ofSample, prepare: sampleOverride },
    run: async ({ service, params, options }) => await service.clearOverride(params.flagId, params.tenantId, options),
  }),
  verb(`POST ${path}/:flagId/evaluate`, {
    ...evaluation,
    operationId: "evaluateFlag",
    summary: "Evaluate one flag for a tenant",
    description: "Records nothing. `:flagId` is the flag's id or key.",
    input: evaluationInput,
    inputOptional: true,
    output: evaluationView,
    sample: { ...ofSample, prepare: sampleFlag, body: { context: { userId: "user-1" } } },
    run: async ({ service, params, body: { context, type } }) => {
      const result = await service.evaluate(params.flagId, params.tenantId, context, { type });
      return result?.reason === "FLAG_NOT_FOUND" ? null : result;
    },
  }),
  verb(`POST ${path}/:flagId/explain`, {
    ...evaluation,
    operationId: "explainFlag",
    summary: "Evaluate one flag for a tenant, step by step",
    description: "Records nothing. `:flagId` is the flag's id or key.",
    platformOnly: true,
    input: evaluationInput.omit({ type: true }),
    inputOptional: true,
    output: explanationView,
    sample: { ...ofSample, prepare: sampleFlag, body: { context: { userId: "user-1" } } },
    run: async ({ service, params, body }) => await service.explain(params.flagId, params.tenantId, body.context),
  }),
];
