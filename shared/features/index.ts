import type { Feature } from "../core/feature.ts";
import type { Job } from "../core/job.ts";
import { scopeCatalogue } from "../core/scopes.ts";

/**
 * The list of features. Keys, scopes, lists, cascade, retention, the database schema, routes, OpenAPI and documentation are derived
 * from it. Modules are loaded on first use, so that the startup time does not grow with the number of features.
 */
export const features = [
  {
    name: "tenants",
    summary: "The customers of the platform and their states.",
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
    jobs: () => import("./subscriptions/jobs.ts"),
  },
  {
    name: "metrics",
    summary: "The catalogue of metrics.",
    paths: ["/v1/metrics"],
    scopes: { metrics: { tenants: "read" } },
    entities: () => import("./metrics/entity.ts"),
    services: () => import("./metrics/service.ts"),
    routes: () => import("./metrics/routes.ts"),
  },
  {
    name: "usage",
    summary: "The usage of each metric by tenant and month, with its limit.",
    paths: ["/v1/tenants/:tenantId/usage", "/v1/usage"],
    scopes: { usage: { tenants: "read" } },
    entities: () => import("./usage/entity.ts"),
    services: () => import("./usage/service.ts"),
    routes: () => import("./usage/routes.ts"),
    jobs: () => import("./usage/jobs.ts"),
  },
  {
    name: "alerts",
    summary: "The thresholds of its limits that a tenant's usage has reached.",
    paths: ["/v1/tenants/:tenantId/alerts"],
    scopes: { alerts: { tenants: "write" } },
    entities: () => import("./alerts/entity.ts"),
    services: () => import("./alerts/service.ts"),
    routes: () => import("./alerts/routes.ts"),
  },
  {
    name: "audit",
    summary: "The append-only, hash-chained log of changes.",
    paths: ["/v1/audit"],
    scopes: { audit: { tenants: "read" } },
    entities: () => import("./audit/entity.ts"),
    services: () => import("./audit/service.ts"),
    routes: () => import("./audit/routes.ts"),
  },
  {
    name: "admins",
    summary: "The platform's administrators, and the caller's own permissions.",
    paths: ["/v1/admins", "/v1/me"],
    scopes: { admins: { tenants: "none", superAdminWrites: true } },
    entities: () => import("./admins/entity.ts"),
    services: () => import("./admins/service.ts"),
    routes: () => import("./admins/routes.ts"),
  },
  {
    name: "invoices",
    summary: "A tenant's invoices, and the credit notes that correct them.",
    paths: ["/v1/tenants/:tenantId/invoices", "/v1/tenants/:tenantId/credit-notes"],
    scopes: { invoices: { tenants: "read" } },
    entities: () => import("./invoices/entity.ts"),
    services: () => import("./invoices/service.ts"),
    routes: () => import("./invoices/routes.ts"),
  },
  {
    name: "revenue",
    summary: "The movements of the monthly recurring revenue.",
    paths: ["/v1/revenue"],
    scopes: { revenue: { tenants: "none" } },
    entities: () => import("./revenue/entity.ts"),
    services: () => import("./revenue/service.ts"),
    routes: () => import("./revenue/routes.ts"),
  },
  {
    name: "entitlements",
    summary: "A tenant's features and limits: those of its plan, with grants and overrides.",
    paths: ["/v1/tenants/:tenantId/entitlements", "/v1/tenants/:tenantId/grants"],
    scopes: { entitlements: { tenants: "read" } },
    entities: () => import("./entitlements/entity.ts"),
    services: () => import("./entitlements/service.ts"),
    routes: () => import("./entitlements/routes.ts"),
    jobs: () => import("./entitlements/jobs.ts"),
  },
  {
    name: "plan-migrations",
    summary: "Moves of existing subscribers to another version of their plan, or to another plan.",
    paths: ["/v1/plan-migrations"],
    scopes: { "plan-migrations": { tenants: "none" } },
    entities: () => import("./plan-migrations/entity.ts"),
    services: () => import("./plan-migrations/service.ts"),
    routes: () => import("./plan-migrations/routes.ts"),
    jobs: () => import("./plan-migrations/jobs.ts"),
  },
  {
    name: "retention",
    summary: "How long records are kept, and their deletion.",
    paths: ["/v1/policies"],
    scopes: { policies: { tenants: "none" } },
    entities: () => import("./retention/entity.ts"),
    services: () => import("./retention/service.ts"),
    routes: () => import("./retention/routes.ts"),
    jobs: () => import("./retention/jobs.ts"),
  },
  {
    name: "jobs",
    summary: "The background jobs of the platform and the items that they could not handle.",
    paths: ["/v1/jobs"],
    scopes: { jobs: { tenants: "none" } },
    entities: () => import("./jobs/entity.ts"),
    services: () => import("./jobs/service.ts"),
    routes: () => import("./jobs/routes.ts"),
  },
  {
    name: "flags",
    summary: "Feature flags, and what they are for a tenant.",
    paths: ["/v1/flags", "/v1/tenants/:tenantId/flags"],
    scopes: { flags: { tenants: "read" } },
    entities: () => import("./flags/entity.ts"),
    services: () => import("./flags/service.ts"),
    routes: () => import("./flags/routes.ts"),
  },
  {
    name: "stale-flags",
    summary: "Feature flags that are no longer needed.",
    paths: ["/v1/flags/stale"],
    scopes: {},
    entities: () => import("./stale-flags/entity.ts"),
    services: () => import("./stale-flags/service.ts"),
    routes: () => import("./stale-flags/routes.ts"),
  },
  {
    name: "ofrep",
    summary: "The evaluation of feature flags for the SDKs of OpenFeature (OFREP).",
    paths: ["/ofrep/v1"],
    scopes: {},
    entities: () => Promise.resolve({}),
    services: () => import("./ofrep/service.ts"),
    routes: () => import("./ofrep/routes.ts"),
  },
] as const satisfies readonly Feature[];

/** The background jobs of all features, in the order of the list. */
export async function loadJobs(): Promise<Job[]> {
  const modules = await Promise.all((features as readonly Feature[]).map((feature) => feature.jobs?.()));
  return modules.flatMap((module) => module?.jobs ?? []);
}

export const scopes = scopeCatalogue(Object.assign({}, ...features.map((feature) => feature.scopes)));
