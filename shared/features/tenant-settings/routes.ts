import { z } from "zod";
import { publicBranding } from "../../core/branding.ts";
import { Reply } from "../../core/reply.ts";
import { type Route, verb } from "../../core/route.ts";
import { component, recordOf } from "../../core/schemas.ts";
import { tenant } from "../tenants/entity.ts";
import { privateMetadata } from "./entity.ts";
import { ORIGINS } from "./rules.ts";
import { privateInput, PrivateMetadataService, TenantSettingsService } from "./service.ts";

const effective = component(
  "TenantSettings",
  z.object({
    settings: z.record(
      z.string(),
      z.object({ value: z.json(), from: z.enum(ORIGINS).meta({ description: "The record that the value comes from." }) }),
    ).meta({ description: "By name." }),
  }),
  () => ({ settings: { require2FA: { value: true, from: "plan" }, sessionTimeoutMinutes: { value: 60, from: "platform" } } }),
);
const branding = component("Branding", publicBranding, () => ({ name: "Hotel Aurora", primaryColor: "#0a7c66" }));
const brandedHost = z.strictObject({
  host: z.string().min(1).max(300).optional().meta({ description: "A host name: a subdomain of the platform or a custom domain." }),
  subdomain: z.string().min(1).max(63).optional().meta({ description: "The tenant's subdomain label." }),
}).refine((given) => Object.keys(given).length === 1, "must have exactly one of host and subdomain");

const notes = {
  service: PrivateMetadataService,
  output: recordOf(privateMetadata),
  loads: [tenant, privateMetadata],
  resource: "tenant",
  platformOnly: true,
} as const;

/** The settings of a tenant, what the platform notes of it, and its public branding. */
export const routes: readonly Route[] = [
  verb("GET /v1/tenants/:tenantId/settings", {
    service: TenantSettingsService,
    operationId: "getTenantSettings",
    summary: "Get the settings that apply to a tenant, and where each comes from",
    description: "Those of the platform, replaced by those of the tenant's plan, replaced by the tenant's own.",
    scope: "read:tenants",
    resource: "tenant",
    output: effective,
    run: async ({ service, params }) => {
      const settings = await service.get(params.tenantId);
      return settings && { settings };
    },
  }),
  verb("GET /v1/tenants/:tenantId/private-metadata", {
    ...notes,
    operationId: "getPrivateMetadata",
    summary: "Get what the platform notes of a tenant",
    scope: "read:tenants",
    run: async ({ service, params }) => await service.get(params.tenantId),
  }),
  verb("PATCH /v1/tenants/:tenantId/private-metadata", {
    ...notes,
    operationId: "updatePrivateMetadata",
    summary: "Change what the platform notes of a tenant by JSON merge patch",
    description:
      "At most 50 names, each with a value of at most 500 characters. Null removes a name. The tenant sees neither it nor its changes.",
    scope: "write:tenants",
    input: privateInput,
    sample: { body: (n: number) => ({ values: { note: n } }) },
    run: async ({ service, params, body, options }) => await service.update(params.tenantId, body, options),
  }),
  verb("GET /v1/branding", {
    service: TenantSettingsService,
    operationId: "getBranding",
    summary: "Get the branding at a host, for its sign-in page",
    description: "The tenant's branding over the platform's; at a host that no tenant has claimed, the platform's. At most 10 seconds old.",
    scope: "public",
    query: brandedHost,
    output: branding,
    etag: true,
    sample: { query: "subdomain=aurora" },
    run: async ({ service, query }) => {
      const { shown, digest } = await service.brandingAt(query);
      return new Reply(200, shown, { version: digest });
    },
  }),
];
