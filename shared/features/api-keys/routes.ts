import { z } from "zod";
import { type CreateInput, inputsOf, type UpdateInput } from "../../core/fields.ts";
import { checkPaging, integer, listArguments, listQuery, pageParams, pagination } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { component, exampleOf, pageOf, recordOf } from "../../core/schemas.ts";
import { segment } from "../../core/values.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { tenantOfBody } from "../tenants/of-body.ts";
import { apiKey } from "./entity.ts";
import { MAX_OVERLAP_SECONDS } from "./rules.ts";
import { ApiKeyService } from "./service.ts";
import { verification, verifyInput } from "./verification.ts";

const path = "/v1/api-keys";
const shown = recordOf(apiKey);
const secret = z.string().optional().meta({
  description: "Store it now: it is not shown again. A request that is repeated with its idempotency key has no secret in its response.",
});
const made = component(
  "NewApiKey",
  (shown as unknown as z.ZodObject).extend({ secret }),
  () => ({ ...exampleOf(shown) as object, secret: "ik_live_4fZ9qT…0aZ7" }),
);
const tenantId = z.string().transform(shortTenantId).pipe(segment).optional()
  .meta({ description: "The tenant's id, short or as its full key." });
const DAYS = 90;
const one = { service: ApiKeyService, resource: "apiKey", loads: [apiKey] } as const;
const change = { ...one, scope: "write:api-keys" } as const;

/** API keys. Of their secrets, only the response of the call that made them has one. */
export const routes: readonly Route[] = [
  verb(`GET ${path}`, {
    service: ApiKeyService,
    operationId: "listApiKeys",
    summary: "List API keys",
    description: "Without `tenantId`, a platform caller gets the keys of the platform and of all tenants.",
    scope: "read:api-keys",
    query: listQuery(apiKey).safeExtend({ tenantId }),
    output: pageOf(apiKey),
    run: async ({ service, query: { tenantId: _, ...query }, tenantId }) =>
      await service.list(tenantId ?? undefined, ...listArguments(query as Parameters<typeof listArguments>[0])) as never,
  }),
  verb(`POST ${path}`, {
    service: ApiKeyService,
    operationId: "createApiKey",
    summary: "Create an API key",
    description:
      "A key has at most the scopes of the caller, and a key of a tenant at most those of the tenant's owner. A tenant's users and keys " +
      "make keys of their tenant.",
    scope: "write:api-keys",
    input: inputsOf(apiKey).create,
    output: made,
    errors: ["already_exists", "api_keys_disabled"],
    shownOnce: ["secret"],
    location: ({ id }) => `${path}/${String(id)}`,
    sample: { body: (n) => ({ name: `Key ${n}`, scopes: ["read:plans"] }) },
    run: async ({ service, body, tenantId, caller, options }) => {
      const { name, scopes, ...rest } = body as unknown as CreateInput<typeof apiKey>;
      const own = tenantOfBody(rest.tenantId, tenantId, caller);
      return await service.generate(name, scopes, { ...rest, ...(own === undefined ? {} : { tenantId: own }) }, options) as never;
    },
  }),
  verb(`GET ${path}/unused`, {
    service: ApiKeyService,
    operationId: "listUnusedApiKeys",
    summary: "List enabled API keys that were not used for some days, the longest unused first",
    scope: "read:api-keys",
    query: checkPaging(z.strictObject({
      tenantId,
      days: integer(1, 3_650).optional().meta({ description: "Days since the last use, or since the creation.", default: DAYS }),
      ...pageParams,
    })),
    output: pageOf(apiKey),
    run: async ({ service, query: { days = DAYS, tenantId: _, ...page }, tenantId }) =>
      await service.unused(days, tenantId ?? undefined, pagination(page)) as never,
  }),
  verb(`POST ${path}/verify`, {
    service: ApiKeyService,
    operationId: "verifyApiKey",
    summary: "Verify an API key",
    description:
      "Says whether a secret that was sent to you is valid. The response is 200 for an invalid one too. A use of the key is counted.",
    scope: "read:api-keys",
    readOnly: true,
    input: verifyInput,
    output: verification,
    errors: ["api_keys_disabled"],
    sample: { body: { key: "ik_live_none" } },
    run: async ({ service, body: { key, ...options } }) => await service.verify(key, options),
  }),
  verb(`GET ${path}/:apiKeyId`, {
    ...one,
    operationId: "getApiKey",
    summary: "Get an API key",
    scope: "read:api-keys",
    output: shown,
    run: async ({ service, params }) => await service.get(params.apiKeyId) as never,
  }),
  verb(`PATCH ${path}/:apiKeyId`, {
    ...change,
    operationId: "updateApiKey",
    summary: "Change an API key by JSON merge patch",
    description: "The change counts from the next request on. You can change only keys whose scopes you have.",
    input: inputsOf(apiKey).update,
    output: shown,
    errors: ["invalid_transition"],
    sample: { body: (n) => ({ name: `Renamed ${n}` }) },
    run: async ({ service, params, body, options }) =>
      await service.update(params.apiKeyId, body as UpdateInput<typeof apiKey>, options) as never,
  }),
  verb(`DELETE ${path}/:apiKeyId`, {
    ...change,
    operationId: "deleteApiKey",
    summary: "Revoke an API key",
    description: "The key is refused from the next request on. Its record is kept until retention deletes it.",
    run: async ({ service, params, options }) => await service.revoke(params.apiKeyId, undefined, options) !== null,
  }),
  verb(`POST ${path}/:apiKeyId/revoke`, {
    ...change,
    operationId: "revokeApiKey",
    summary: "Revoke an API key with a reason",
    description: "A key that was revoked before keeps its first reason.",
    input: z.strictObject({ reason: z.string().trim().min(1).max(500).optional() }),
    inputOptional: true,
    output: shown,
    sample: { body: { reason: "The laptop was lost." } },
    run: async ({ service, params, body, options }) => await service.revoke(params.apiKeyId, body.reason, options) as never,
  }),
  verb(`POST ${path}/:apiKeyId/rotate`, {
    ...change,
    operationId: "rotateApiKey",
    summary: "Replace the secret of an API key",
    description:
      "The present secret stays valid for `overlapSeconds`. A secret that an earlier rotation replaced ends at once. Both belong to one key.",
    input: z.strictObject({
      overlapSeconds: z.int().min(0).max(MAX_OVERLAP_SECONDS).meta({
        description: "At most 7 days. With 0, the present secret ends at once.",
      }),
    }),
    output: made,
    errors: ["invalid_transition", "api_keys_disabled"],
    shownOnce: ["secret"],
    sample: { body: { overlapSeconds: 3_600 } },
    run: async ({ service, params, body, options }) => await service.rotate(params.apiKeyId, body, options) as never,
  }),
];
