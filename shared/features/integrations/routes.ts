import { z } from "zod";
import { listArguments, listQuery } from "../../core/list-query.ts";
import { created, replied, type Route, verb } from "../../core/route.ts";
import { pageOf, recordOf } from "../../core/schemas.ts";
import { tenant } from "../tenants/entity.ts";
import { integration } from "./entity.ts";
import { connectionInput, syncInput } from "./inputs.ts";
import { IntegrationService } from "./service.ts";
import { providersView, testView } from "./view.ts";

const path = "/v1/tenants/:tenantId/integrations";
const one = { service: IntegrationService, resource: "integration", loads: [integration] } as const;
const sample = { params: { provider: "hubspot" } } as const;
const CREDENTIALS = { accessToken: "an-access-token" } as const;
async function connect(service: IntegrationService, { tenantId = "" }: Readonly<Record<string, string>>): Promise<void> {
  await service.connect(tenantId, sample.params.provider, { credentials: CREDENTIALS });
}
const ofConnected = { ...sample, prepare: connect } as const;

/** Integrations. No response contains credentials. */
export const routes: readonly Route[] = [
  verb("GET /v1/integration-providers", {
    service: IntegrationService,
    operationId: "listIntegrationProviders",
    summary: "List the providers that can be connected",
    description: "With the JSON Schemas of their config and credentials.",
    scope: "read:integrations",
    output: providersView,
    run: ({ service }) => ({ data: [...service.providers()] as z.output<typeof providersView>["data"] }),
  }),
  verb(`GET ${path}`, {
    service: IntegrationService,
    operationId: "listIntegrations",
    summary: "List a tenant's integrations",
    scope: "read:integrations",
    query: listQuery(integration),
    output: pageOf(integration),
    run: async ({ service, params, query }) => await service.list(params.tenantId, ...listArguments(query)) as never,
  }),
  verb(`GET ${path}/:provider`, {
    ...one,
    operationId: "getIntegration",
    summary: "Get an integration",
    scope: "read:integrations",
    output: recordOf(integration),
    sample: ofConnected,
    run: async ({ service, params }) => await service.get(params.tenantId, params.provider) as never,
  }),
  verb(`PUT ${path}/:provider`, {
    ...one,
    loads: [tenant, integration],
    operationId: "connectIntegration",
    summary: "Connect a provider, or change its connection",
    description:
      "`GET /v1/integration-providers` has the schemas of config and credentials. The same config and credentials change nothing. " +
      "Without `credentials`, the stored ones stay. New ones connect an integration again that was disconnected or needs them.",
    scope: "write:integrations",
    input: connectionInput,
    output: recordOf(integration),
    errors: ["unknown_provider", "root_key_unavailable"],
    location: () => `${path}/:provider`,
    replaces: true,
    sample: { ...ofConnected, body: (n) => ({ credentials: { ...CREDENTIALS, accessToken: `another-token-${n}` } }) },
    run: async ({ service, params: { tenantId, provider }, body, options }) => {
      const put = await service.put(tenantId, provider, body, options);
      return put.created ? created(put.record, `/v1/tenants/${tenantId}/integrations/${provider}`) : replied(put.record);
    },
  }),
  verb(`DELETE ${path}/:provider`, {
    ...one,
    operationId: "disconnectIntegration",
    summary: "Disconnect an integration",
    description: "Deletes the credentials. The record stays with the status `disconnected` and its history.",
    scope: "write:integrations",
    sample: ofConnected,
    run: async ({ service, params, options }) => await service.disconnect(params.tenantId, params.provider, options),
  }),
  verb(`POST ${path}/:provider/sync`, {
    ...one,
    operationId: "updateSyncStatus",
    summary: "Report the state of a synchronisation",
    description: "The last 50 are kept. Credentials that `error` quotes are replaced by `[redacted]`.",
    scope: "write:integrations",
    input: syncInput,
    output: recordOf(integration),
    errors: ["integration_disconnected"],
    sample: { ...ofConnected, body: { status: "failed", error: "The contact list is locked." } },
    run: async ({ service, params, body, options }) =>
      await service.updateSyncStatus(params.tenantId, params.provider, body.status, body.error, options) as never,
  }),
  verb(`POST ${path}/:provider/test`, {
    ...one,
    operationId: "testIntegration",
    summary: "Test the connection of an integration",
    description:
      "Makes a call that changes nothing at the provider, with a deadline of 10 s, even if the circuit is open. The response is 200 whatever " +
      "the outcome is. It takes 5 requests from the caller's rate limit. After three tests and calls with refused " +
      "credentials, one after the other, the integration needs new ones.",
    scope: "write:integrations",
    cost: 5,
    output: testView,
    errors: ["integration_disconnected", "integration_needs_reauth", "root_key_unavailable"],
    sample: ofConnected,
    run: async ({ service, params, options }) => await service.test(params.tenantId, params.provider, options),
  }),
];
