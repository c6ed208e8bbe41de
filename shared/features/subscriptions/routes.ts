import { z } from "zod";
import { subscriptionUpsert } from "../inputs.ts";
import { errors } from "../../kernel/errors.ts";
import { defineRoute, type Route } from "../../core/route.ts";
import { assertOwnFields } from "../../../functions/api/tenant-scope.ts";
import { created, record } from "../../core/reply.ts";
import { subscriptionRecord } from "../../core/schemas.ts";

const path = "/v1/tenants/:tenantId/subscription";
const one = { 200: { description: "The subscription.", schema: subscriptionRecord } };

/** A tenant's one subscription. A plan change moves the tenant's plan, revenue and usage limits with it. */
export const subscriptionRoutes: Route[] = [
  defineRoute({
    method: "GET",
    path,
    operationId: "getSubscription",
    summary: "A tenant's subscription",
    scope: "read:subscriptions",
    openWhenSuspended: true,
    responses: one,
    handler: async ({ params, services }) => record(await services.SubscriptionService.get(params.tenantId) ?? missing(params.tenantId)),
  }),
  defineRoute({
    method: "PUT",
    path,
    operationId: "putSubscription",
    summary: "Create or change a tenant's subscription",
    scope: "write:subscriptions",
    description:
      "Members left out keep their values. A tenant's owner may change the plan, the payment method, cancelAtPeriodEnd and metadata.",
    body: subscriptionUpsert,
    errors: ["plan_inactive"],
    responses: { 200: one[200], 201: { description: "The new subscription.", schema: subscriptionRecord } },
    handler: async ({ params, body, services, caller, ifMatch }) => {
      assertOwnFields(caller, "subscription", body);
      const put = await services.SubscriptionService.put(params.tenantId, body, { ifMatch });
      return put.created ? created(put.record, `/v1/tenants/${params.tenantId}/subscription`) : record(put.record);
    },
  }),
  defineRoute({
    method: "POST",
    path: `${path}/cancel`,
    operationId: "cancelSubscription",
    summary: "Cancel at the period's end, or at once",
    scope: "write:subscriptions",
    body: z.strictObject({ cancelAtPeriodEnd: z.boolean().default(true) }),
    bodyOptional: true,
    responses: one,
    handler: async ({ params, body, services, ifMatch }) =>
      record(await services.SubscriptionService.cancel(params.tenantId, body.cancelAtPeriodEnd, { ifMatch })),
  }),
  defineRoute({
    method: "POST",
    path: `${path}/reactivate`,
    operationId: "reactivateSubscription",
    summary: "Take a cancellation back",
    scope: "write:subscriptions",
    errors: ["plan_inactive"],
    responses: one,
    handler: async ({ params, services, ifMatch }) => record(await services.SubscriptionService.reactivate(params.tenantId, { ifMatch })),
  }),
];

function missing(tenantId: string): never {
  throw errors.notFound("subscription", tenantId);
}
