import type { Route } from "../../../shared/core/route.ts";
import type { TestApi } from "./api.ts";

/** What a good call of each route with a body sends. A new route without one fails the battery. */
const BODIES: Readonly<Record<string, (n: number) => Record<string, unknown>>> = {
  createTenant: (n) => ({
    name: "Hotel Sample",
    subdomain: `sample-${n}`,
    plan: "Pro",
    owner: "ada@sample.example",
    ownerName: "Ada Auer",
  }),
  updateTenant: (n) => ({ name: `Renamed ${n}` }),
  suspendTenant: () => ({ reason: "unpaid" }),
  putSubscription: (n) => ({ metadata: { note: n } }),
  recordUsage: (n) => ({ value: n }),
  createPlan: (n) => ({ name: `Plan${n}`, price: 100, currency: "USD", interval: "monthly", limits: LIMITS }),
  updatePlan: (n) => ({ description: `changed ${n}` }),
  createAdmin: (n) => ({ userId: `made-${n}`, email: `made-${n}@innkeep.example`, name: "Made", role: "support" }),
  updateAdmin: (n) => ({ name: `Renamed ${n}` }),
};
const LIMITS = { users: 1, properties: 1, rooms: 1, bookings: 1, api_calls: 1, storage: 1, customDomains: 1 };

let calls = 0;

export function bodyOf(route: Route): Record<string, unknown> | undefined {
  calls += 1;
  const body = BODIES[route.operationId]?.(calls);
  if (!body && route.body && !route.bodyOptional) throw new Error(`${route.operationId} has a body and no sample of it`);
  return body;
}

const NEEDED: Readonly<Record<string, string>> = { checkUsage: "?amount=1", resolveTenant: "?id=tn_none" };

/** A route's path for a tenant, with ids of records that exist. */
export function pathOf(route: Route, ids: { readonly tenantId: string; readonly planId?: string; readonly userId?: string }): string {
  const values: Readonly<Record<string, string>> = { metric: "api_calls", planId: "Pro", userId: "user-support", ...ids };
  return route.path.replaceAll(/:(\w+)/g, (_, name: string) => values[name] ?? "missing") + (NEEDED[route.operationId] ?? "");
}

/** The state a route needs for its call to change something. */
const PREPARED: Readonly<Record<string, (api: TestApi, tenantId: string) => Promise<unknown>>> = {
  unsuspendTenant: (api, id) => api.services.TenantService.suspend(id, "unpaid"),
  reactivateTenant: (api, id) => api.services.TenantService.cancel(id),
  reactivateSubscription: (api, id) => api.services.SubscriptionService.cancel(id),
};

/** Records of the call's own, so that nothing another call does is in its way. */
export async function prepare(api: TestApi, route: Route): Promise<{ tenantId: string; planId: string; userId: string }> {
  calls += 1;
  const { id: tenantId } = await api.tenant();
  const { id: planId } = await api.services.PlanService.create({
    name: `Spare${calls}`,
    price: 1,
    currency: "USD",
    interval: "monthly",
    limits: LIMITS,
  });
  const { userId } = await api.services.AdminUserService.create({
    userId: `spare-${calls}`,
    email: "spare@innkeep.example",
    name: "Spare",
    role: "support",
  });
  await PREPARED[route.operationId]?.(api, tenantId);
  return { tenantId, planId, userId };
}
