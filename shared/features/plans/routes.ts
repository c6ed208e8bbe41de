import { planCreate, planUpdate } from "../inputs.ts";
import { plan } from "./entity.ts";
import { errors } from "../../kernel/errors.ts";
import { defineRoute, type Route } from "../../core/route.ts";
import { listArguments, listQuery } from "../../core/list-query.ts";
import { created, noContent, page, record } from "../../core/reply.ts";
import { pageOf, planRecord } from "../../core/schemas.ts";

const one = { 200: { description: "The plan.", schema: planRecord } };

/** Plans: tenants read them, the platform writes them. */
export const planRoutes: Route[] = [
  defineRoute({
    method: "GET",
    path: "/v1/plans",
    operationId: "listPlans",
    summary: "Plans, cheapest first",
    scope: "read:plans",
    query: listQuery(plan),
    responses: { 200: { description: "A page of plans.", schema: pageOf("PlanPage", planRecord) } },
    handler: async ({ query, services }) => page(await services.PlanService.list(...listArguments(query))),
  }),
  defineRoute({
    method: "POST",
    path: "/v1/plans",
    operationId: "createPlan",
    summary: "Create a plan",
    scope: "write:plans",
    body: planCreate,
    errors: ["already_exists"],
    responses: { 201: { description: "The new plan.", schema: planRecord } },
    handler: async ({ body, services }) => {
      const made = await services.PlanService.create(body);
      return created(made, `/v1/plans/${made.id}`);
    },
  }),
  defineRoute({
    method: "GET",
    path: "/v1/plans/:planId",
    operationId: "getPlan",
    summary: "One plan",
    scope: "read:plans",
    responses: one,
    handler: async ({ params, services }) => record(await services.PlanService.get(params.planId) ?? missing(params.planId)),
  }),
  defineRoute({
    method: "PATCH",
    path: "/v1/plans/:planId",
    operationId: "updatePlan",
    summary: "Change a plan by JSON merge patch",
    scope: "write:plans",
    body: planUpdate,
    responses: one,
    handler: async ({ params, body, services, ifMatch }) =>
      record(await services.PlanService.update(params.planId, body, { ifMatch }) ?? missing(params.planId)),
  }),
  defineRoute({
    method: "DELETE",
    path: "/v1/plans/:planId",
    operationId: "deletePlan",
    summary: "Delete a plan nobody uses",
    scope: "write:plans",
    errors: ["plan_in_use"],
    responses: { 204: { description: "It is gone." } },
    handler: async ({ params, services, ifMatch }) =>
      await services.PlanService.delete(params.planId, { ifMatch }) ? noContent() : missing(params.planId),
  }),
];

function missing(planId: string): never {
  throw errors.notFound("plan", planId);
}
