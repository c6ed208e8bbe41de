import { z } from "zod";
import { crud } from "../../core/crud.ts";
import { checkPaging, pageParams, pagination } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { pageOf, recordOf } from "../../core/schemas.ts";
import { plan, planVersion } from "./entity.ts";
import { PlanService, PlanVersionService } from "./service.ts";

const LIMITS = { users: 1, properties: 1, rooms: 1, bookings: 1, api_calls: 1, storage: 1, customDomains: 1 };

/** Tenants can read the plans. Only the platform can change them. */
export const routes: readonly Route[] = [
  ...crud(plan, {
    path: "/v1/plans",
    scope: "plans",
    service: PlanService,
    errors: { delete: ["plan_in_use"] },
    sample: {
      create: (n) => ({ name: `Plan${n}`, price: 100, currency: "USD", interval: "monthly", limits: LIMITS }),
      update: (n) => ({ description: `changed ${n}` }),
    },
  }),
  verb("GET /v1/plans/:planId/versions", {
    service: PlanVersionService,
    operationId: "listPlanVersions",
    summary: "List the versions of a plan",
    description: "A change of price, interval, limits, features or trial makes a version. Subscribers keep the one they were sold.",
    scope: "read:plans",
    loads: [plan],
    query: checkPaging(z.strictObject(pageParams)),
    output: pageOf(planVersion),
    run: async ({ service, params, query }) => await service.list(params.planId, undefined, pagination(query)),
  }),
  verb("GET /v1/plans/:planId/versions/:n", {
    service: PlanVersionService,
    operationId: "getPlanVersion",
    summary: "Get a version of a plan",
    scope: "read:plans",
    resource: "plan version",
    loads: [planVersion],
    output: recordOf(planVersion),
    sample: { params: { n: "1" } },
    run: async ({ service, params }) => await service.get(params.planId, params.n),
  }),
];
