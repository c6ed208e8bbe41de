import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { type Route, verb } from "../../core/route.ts";
import { entitlements, grant, GRANT_KINDS } from "./entity.ts";
import { EntitlementService, GrantService } from "./service.ts";
import { entitlementsView, entitlementView } from "./view.ts";

const path = "/v1/tenants/:tenantId/entitlements";
const read = {
  service: EntitlementService,
  scope: "read:entitlements",
  resource: "tenant",
  openWhenSuspended: true,
  loads: [entitlements],
} as const;

/** A tenant's users read what they have. Only the platform grants it. */
export const routes: readonly Route[] = [
  verb(`GET ${path}`, {
    ...read,
    operationId: "getEntitlements",
    summary: "Get a tenant's features and limits",
    description: "Merges the plan that the tenant was sold with its grants. Each item names what decides.",
    output: entitlementsView,
    run: async ({ service, params }) => await service.get(params.tenantId),
  }),
  verb(`GET ${path}/check`, {
    ...read,
    operationId: "checkEntitlement",
    summary: "Check one feature or limit of a tenant",
    description: "A key that is no limit is a feature, and an unknown feature is not allowed.",
    query: z.strictObject({
      key: z.string().min(1).max(100).meta({ description: "The feature, or the metric that is limited (or `customDomains`)." }),
      kind: z.enum(GRANT_KINDS).optional().meta({ description: "If a feature and a limit have the same key. Default: the limit." }),
    }),
    output: entitlementView,
    sample: { query: "key=api" },
    run: async ({ service, params, query }) => await service.check(params.tenantId, query.key, query.kind),
  }),
  ...crud(grant, {
    path: "/v1/tenants/:tenantId/grants",
    scope: "entitlements",
    service: GrantService,
    descriptions: {
      create: "Adds a feature or a limit to those of the plan, or replaces it with an override. `kind` and `key` never change.",
      delete: "What the plan and the other grants give counts again at once.",
    },
    sample: {
      create: (n) => ({ kind: "limit", key: "rooms", value: n, reason: "A second building." }),
      update: (n) => ({ value: n + 1 }),
    },
  }),
];
