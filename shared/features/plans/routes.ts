import { crud } from "../../core/crud.ts";
import type { Route } from "../../core/route.ts";
import { plan } from "./entity.ts";
import { PlanService } from "./service.ts";

const LIMITS = { users: 1, properties: 1, rooms: 1, bookings: 1, api_calls: 1, storage: 1, customDomains: 1 };

/** Tenants can read the plans. Only the platform can change them. */
export const routes: readonly Route[] = crud(plan, {
  path: "/v1/plans",
  scope: "plans",
  service: PlanService,
  errors: { delete: ["plan_in_use"] },
  sample: {
    create: (n) => ({ name: `Plan${n}`, price: 100, currency: "USD", interval: "monthly", limits: LIMITS }),
    update: (n) => ({ description: `changed ${n}` }),
  },
});
