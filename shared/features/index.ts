import { auditEntry } from "../core/audit-entry.ts";
import type { Feature } from "../core/feature.ts";
import { idempotencyRecord } from "../core/idempotency-record.ts";
import { outboxEvent } from "../core/outbox-event.ts";
import { scopeCatalogue } from "../core/scopes.ts";
import type { AnyEntity } from "../kv/define.ts";
import { matchKey } from "../kv/define.ts";
import { admin } from "./admins/entity.ts";
import { metric } from "./metrics/entity.ts";
import { plan } from "./plans/entity.ts";
import { subscription } from "./subscriptions/entity.ts";
import { domainClaim, subdomainClaim } from "./tenants/claims.ts";
import { tenant } from "./tenants/entity.ts";
import { usageRecord } from "./usage/entity.ts";

/**
 * The one list of features. Keys, scopes, lists, cascade, retention, the database's part, routes, OpenAPI and documentation follow
 * from it. Services and routes are loaded on first use.
 */
export const features = [
  {
    name: "tenants",
    entities: [tenant, subdomainClaim, domainClaim],
    paths: ["/v1/tenants"],
    scopes: { tenants: { tenants: "write" } },
    services: () => import("./tenants/service.ts"),
    routes: () => import("./tenants/routes.ts"),
  },
  {
    name: "plans",
    entities: [plan],
    paths: ["/v1/plans"],
    scopes: { plans: { tenants: "read" } },
    services: () => import("./plans/service.ts"),
    routes: () => import("./plans/routes.ts"),
  },
  {
    name: "subscriptions",
    entities: [subscription],
    paths: ["/v1/tenants/:tenantId/subscription"],
    scopes: { subscriptions: { tenants: "write", ownerOnly: true } },
    services: () => import("./subscriptions/service.ts"),
    routes: () => import("./subscriptions/routes.ts"),
  },
  {
    name: "metrics",
    entities: [metric],
    paths: ["/v1/metrics"],
    scopes: { metrics: { tenants: "read" } },
    services: () => import("./metrics/service.ts"),
    routes: () => import("./metrics/routes.ts"),
  },
  {
    name: "usage",
    entities: [usageRecord],
    paths: ["/v1/tenants/:tenantId/usage"],
    scopes: { usage: { tenants: "read" } },
    services: () => import("./usage/service.ts"),
    routes: () => import("./usage/routes.ts"),
  },
  {
    name: "audit",
    entities: [auditEntry],
    paths: ["/v1/audit"],
    scopes: { audit: { tenants: "read" } },
    services: () => import("./audit/service.ts"),
    routes: () => import("./audit/routes.ts"),
  },
  {
    name: "admins",
    entities: [admin],
    paths: ["/v1/admins", "/v1/me"],
    scopes: { admins: { tenants: "none", superAdminWrites: true } },
    services: () => import("./admins/service.ts"),
    routes: () => import("./admins/routes.ts"),
  },
] as const satisfies readonly Feature[];

/** Every declared entity: the features', and what the unit of work writes beside a change. */
export const registry: readonly AnyEntity[] = [
  ...features.flatMap(({ entities }): readonly AnyEntity[] => entities),
  outboxEvent,
  idempotencyRecord,
];

export const scopes = scopeCatalogue(Object.assign({}, ...features.map((feature) => feature.scopes)));

/** The entity a key belongs to, or null when its pattern is not declared. */
export function entityOfKey(key: string): AnyEntity | null {
  return registry.find((entity) => matchKey(entity, key) !== null) ?? null;
}
