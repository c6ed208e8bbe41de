import { z } from "zod";
import { created, replied, type Route, verb } from "../../core/route.ts";
import { recordOf } from "../../core/schemas.ts";
import { entitlements } from "../entitlements/entity.ts";
import { tenant } from "../tenants/entity.ts";
import { planChoice, subscription } from "./entity.ts";
import { subscriptionInput, SubscriptionService } from "./service.ts";
import { changePreview } from "./view.ts";

const path = "/v1/tenants/:tenantId/subscription";
const record = recordOf(subscription);
const shared = { service: SubscriptionService, resource: "subscription", output: record } as const;
const change = { ...shared, scope: "write:subscriptions", loads: [subscription, tenant, entitlements] } as const;

/** A tenant's subscription. A plan change also changes the tenant's plan, `mrr` and usage limits. */
export const routes: readonly Route[] = [
  verb(`GET ${path}`, {
    ...shared,
    operationId: "getSubscription",
    summary: "Get a tenant's subscription",
    scope: "read:subscriptions",
    openWhenSuspended: true,
    loads: [subscription],
    run: async ({ service, params }) => await service.get(params.tenantId),
  }),
  verb(`PUT ${path}`, {
    ...change,
    operationId: "putSubscription",
    summary: "Create or change a tenant's subscription",
    description: "Omitted members keep their values. A tenant's owner may change the payment method, cancelAtPeriodEnd and metadata, " +
      "and the plan if the platform allows it.",
    input: subscriptionInput,
    location: () => path,
    replaces: true,
    errors: [
      "plan_inactive",
      "subscription_cancelled",
      "tenant_cancelled",
      "trial_used",
      "plan_change_forbidden",
      "trials_disabled",
      "plan_full",
    ],
    sample: { body: (n) => ({ metadata: { note: n } }) },
    run: async ({ service, params, body, options }) => {
      const put = await service.put(params.tenantId, body, options);
      return put.created ? created(put.record, path.replace(":tenantId", params.tenantId)) : replied(put.record);
    },
  }),
  verb(`POST ${path}/preview`, {
    ...change,
    operationId: "previewPlanChange",
    openInMaintenance: true,
    summary: "Preview a change of the plan",
    description: "What the change would cost and take away now. Nothing is written. It is refused if the change would be refused.",
    input: planChoice,
    output: changePreview,
    errors: [
      "plan_inactive",
      "subscription_cancelled",
      "tenant_cancelled",
      "trial_used",
      "plan_change_forbidden",
      "trials_disabled",
      "plan_full",
    ],
    sample: { body: { planId: "Basic" }, auditEntries: 0 },
    run: async ({ service, params, body, options }) => await service.preview(params.tenantId, body, options),
  }),
  verb(`POST ${path}/cancel`, {
    ...change,
    operationId: "cancelSubscription",
    summary: "Cancel at the end of the period or at once",
    description: "A tenant's owner may cancel only at the end of the period.",
    input: z.strictObject({ cancelAtPeriodEnd: z.boolean().default(true) }),
    inputOptional: true,
    run: async ({ service, params, body, options }) => await service.cancel(params.tenantId, body.cancelAtPeriodEnd, options),
  }),
  verb(`POST ${path}/reactivate`, {
    ...change,
    operationId: "reactivateSubscription",
    summary: "Reverse a cancellation",
    errors: ["tenant_cancelled", "plan_change_forbidden"],
    sample: { prepare: (service, { tenantId = "" }) => service.cancel(tenantId) },
    run: async ({ service, params, options }) => await service.reactivate(params.tenantId, options),
  }),
];
