import type { Feature } from "../core/feature.ts";
import { scopeCatalogue } from "../core/scopes.ts";

/**
 * The one list of features. Keys, scopes, lists, cascade, retention, the database's part, routes, OpenAPI and documentation follow
 * from it. Its modules are loaded on first use, so that a start does not take longer with every feature.
 */
export const features = [
  {
    name: "tenants",
    summary: "The customers of the platform, and the states they go through.",
    paths: ["/v1/tenants"],
    scopes: { tenants: { tenants: "write" } },
    entities: () => import("./tenants/entity.ts"),
    services: () => import("./tenants/service.ts"),
    routes: () => import("./tenants/routes.ts"),
  },
  {
    name: "plans",
    summary: "What a tenant can subscribe to: price, limits, features.",
    paths: ["/v1/plans"],
    scopes: { plans: { tenants: "read" } },
    entities: () => import("./plans/entity.ts"),
    services: () => import("./plans/service.ts"),
    routes: () => import("./plans/routes.ts"),
  },
  {
    name: "subscriptions",
    summary: "A tenant's one subscription to a plan.",
    paths: ["/v1/tenants/:tenantId/subscription"],
    scopes: { subscriptions: { tenants: "write", ownerOnly: true } },
    entities: () => import("./subscriptions/entity.ts"),
    services: () => import("./subscriptions/service.ts"),
    routes: () => import("./subscriptions/routes.ts"),
  },
  {
    name: "usage",
    summary: "What tenants use of each metric, month by month, against their limits.",
    paths: ["/v1/tenants/:tenantId/usage"],
    scopes: { usage: { tenants: "read" } },
    entities: () => import("./usage/entity.ts"),
    services: () => import("./usage/service.ts"),
    routes: () => import("./usage/routes.ts"),
  },
  {
    name: "audit",
    summary: "Who did what to what: append-only, hash-chained.",
    paths: ["/v1/audit"],
    scopes: { audit: { tenants: "read" } },
    entities: () => import("../core/audit-entry.ts"),
    services: () => import("./audit/service.ts"),
    routes: () => import("./audit/routes.ts"),
  },
  {
    name: "admins",
    summary: "The people who administer the platform, and what the caller may do.",
    paths: ["/v1/admins", "/v1/me"],
    scopes: { admins: { tenants: "none", superAdminWrites: true } },
    entities: () => import("./admins/entity.ts"),
    services: () => import("./admins/service.ts"),
    routes: () => import("./admins/routes.ts"),
  },
] as const satisfies readonly Feature[];

export const scopes = scopeCatalogue(Object.assign({}, ...features.map((feature) => feature.scopes)));
