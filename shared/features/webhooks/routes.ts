import { z } from "zod";
import { inputsOf } from "../../core/fields.ts";
import { listArguments, listQuery } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { component, exampleOf, pageOf, recordOf } from "../../core/schemas.ts";
import { instant, segment } from "../../core/values.ts";
import { event } from "../events/view.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { tenantOfBody } from "../tenants/of-body.ts";
import { delivery, REPLAY_KINDS, webhook, webhookReplay } from "./entity.ts";
import { DEFAULT_OVERLAP_SECONDS, headersInput, headersPatch, MAX_OVERLAP_SECONDS } from "./rules.ts";
import { ofDelivery } from "./sample.ts";
import { WebhookService } from "./service.ts";

const path = "/v1/webhooks";
const shown = recordOf(webhook);
const secret = z.string().optional().meta({
  description: "`whsec_` and base64. Store it now: it is not shown again. A request that is repeated with its idempotency key has no " +
    "secret in its response.",
});
const made = component(
  "NewWebhook",
  (shown as unknown as z.ZodObject).extend({ secret }),
  () => ({ ...exampleOf(shown) as object, secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }),
);
const inputs = {
  create: inputsOf(webhook).create.extend({ headers: headersInput.optional() }),
  update: inputsOf(webhook).update.extend({ headers: headersPatch.optional() }),
};
const oneDelivery = component(
  "DeliveryWithPayload",
  (recordOf(delivery) as unknown as z.ZodObject).extend({
    payload: event.optional().meta({
      description: "The body that is sent. Absent for an event that was deleted, or that you must not read.",
    }),
  }),
  () => ({ ...exampleOf(recordOf(delivery)) as object, payload: exampleOf(event) }),
);
const testResult = component(
  "WebhookTest",
  z.object({
    id: z.string().meta({ description: "The `webhook-id` of the request. It begins with `test_`." }),
    type: z.string(),
    outcome: z.enum(["success", "gone", "busy", "rejected", "unreachable"]).meta({
      description: "`success`: 2xx. `gone`: 410. `busy`: 429 or 503. `rejected`: any other status. `unreachable`: no response.",
    }),
    at: instant,
    durationMs: z.int().meta({ description: "Milliseconds from the first step to the last byte of the response." }),
    statusCode: z.int().optional().meta({ description: "The status of the response. Absent if there was none." }),
    error: z.string().optional().meta({ description: "Why it failed." }),
    responseBody: z.string().optional().meta({ description: "How the response's body begins, as text." }),
  }),
  () => ({ id: "test_1b4e28ba2fa111d2883f0016d3cca427", type: "tenant.created", outcome: "success", ...TESTED }),
);
const TESTED = { at: "2026-01-01T00:00:00.000Z", durationMs: 84, statusCode: 204, responseBody: "" };
const tenantId = z.string().transform(shortTenantId).pipe(segment).optional()
  .meta({ description: "The tenant's id, short or as its full key." });
const one = { service: WebhookService, resource: "webhook", loads: [webhook] } as const;
const change = { ...one, scope: "write:webhooks" } as const;

/** Webhooks: their secrets are shown once, and the values of their headers never. */
export const routes: readonly Route[] = [
  verb(`GET ${path}`, {
    service: WebhookService,
    operationId: "listWebhooks",
    summary: "List webhooks",
    description: "Without `tenantId`, a platform caller gets the webhooks of the platform and of all tenants.",
    scope: "read:webhooks",
    query: listQuery(webhook).safeExtend({ tenantId }),
    output: pageOf(webhook),
    run: async ({ service, query: { tenantId: _, ...query }, tenantId }) =>
      await service.list(tenantId ?? undefined, ...listArguments(query as Parameters<typeof listArguments>[0])) as never,
  }),
  verb(`POST ${path}`, {
    service: WebhookService,
    operationId: "createWebhook",
    summary: "Create a webhook",
    description: "A tenant has at most 20 webhooks, which get its events: an entry of `events` must select a type that is " +
      "`tenantScoped`. The platform has at most 100, which get all events.",
    scope: "write:webhooks",
    input: inputs.create,
    output: made,
    errors: ["root_key_unavailable"],
    shownOnce: ["secret"],
    location: ({ id }) => `${path}/${String(id)}`,
    sample: { body: (n) => ({ url: `https://hooks.example.com/${n}`, events: ["tenant.*"] }) },
    run: async ({ service, body, tenantId, caller, options }) => {
      const own = tenantOfBody(body["tenantId"] as string | undefined, tenantId, caller);
      return await service.create({ ...body, ...(own === undefined ? {} : { tenantId: own }) } as never, options) as never;
    },
  }),
  verb(`GET ${path}/:webhookId`, {
    ...one,
    operationId: "getWebhook",
    summary: "Get a webhook",
    scope: "read:webhooks",
    output: shown,
    run: async ({ service, params }) => await service.get(params.webhookId) as never,
  }),
  verb(`PATCH ${path}/:webhookId`, {
    ...change,
    operationId: "updateWebhook",
    summary: "Change a webhook by JSON merge patch",
    description:
      "The change counts from the next attempt on, also for deliveries that wait. `headers` replaces all headers; null removes them. " +
      "A `url` of another scheme, host or port needs `headers` again if there are any.",
    input: inputs.update,
    output: shown,
    errors: ["root_key_unavailable"],
    sample: { body: (n) => ({ description: `Renamed ${n}` }) },
    run: async ({ service, params, body, options }) => await service.update(params.webhookId, body as never, options) as never,
  }),
  verb(`DELETE ${path}/:webhookId`, {
    ...change,
    operationId: "deleteWebhook",
    summary: "Delete a webhook",
    description: "Its deliveries and replays are deleted with it. A request that is being sent is completed.",
    run: async ({ service, params, options }) => await service.delete(params.webhookId, options),
  }),
  verb(`POST ${path}/:webhookId/rotate-secret`, {
    ...change,
    operationId: "rotateWebhookSecret",
    summary: "Replace the secret of a webhook",
    description:
      "Requests have the signatures of both secrets for `overlapSeconds`. A secret that an earlier rotation replaced ends at once. " +
      "If the present secret can no longer be decrypted, it ends at once too: the response has no `previousSecretExpiresAt`, and " +
      "`headerNames` is empty, because the headers were encrypted with it. Set them again.",
    input: z.strictObject({
      overlapSeconds: z.int().min(0).max(MAX_OVERLAP_SECONDS).optional().meta({
        description: "At most 7 days. With 0, the present secret ends at once.",
        default: DEFAULT_OVERLAP_SECONDS,
      }),
    }),
    inputOptional: true,
    output: made,
    errors: ["root_key_unavailable"],
    shownOnce: ["secret"],
    sample: { body: { overlapSeconds: 3_600 } },
    run: async ({ service, params, body, options }) => await service.rotateSecret(params.webhookId, body, options) as never,
  }),
  verb(`POST ${path}/:webhookId/enable`, {
    ...change,
    operationId: "enableWebhook",
    summary: "Send events to a disabled or failed webhook again",
    description: "`gap` says how many deliveries failed and how many events have no delivery. Replay them with `POST …/replays`.",
    output: shown,
    sample: { prepare: (service, { webhookId = "" }) => service.update(webhookId, { enabled: false }) },
    run: async ({ service, params, options }) => await service.enable(params.webhookId, options) as never,
  }),
  verb(`POST ${path}/:webhookId/test`, {
    ...change,
    operationId: "testWebhook",
    summary: "Send the example of an event type, and wait for the response",
    description:
      "The request is signed like any other. It is sent once, also to a disabled webhook, and is no event of `GET /v1/events`. " +
      "It takes 5 requests from the caller's rate limit.",
    readOnly: true,
    cost: 5,
    input: z.strictObject({
      type: z.string().min(1).max(100).optional().meta({ description: "Default: the first type that the webhook gets." }),
    }),
    inputOptional: true,
    output: testResult,
    errors: ["root_key_unavailable"],
    sample: { body: { type: "tenant.created" } },
    run: async ({ service, params, body }) => await service.test(params.webhookId, body),
  }),
  verb(`GET ${path}/:webhookId/deliveries`, {
    ...one,
    operationId: "listDeliveries",
    summary: "List the deliveries of a webhook, the newest events first",
    description: "They are kept for 30 days.",
    scope: "read:webhooks",
    query: listQuery(delivery),
    output: pageOf(delivery),
    run: async ({ service, params, query }) => await service.deliveries(params.webhookId, ...listArguments(query)),
  }),
  verb(`GET ${path}/:webhookId/deliveries/:deliveryId`, {
    ...one,
    resource: "delivery",
    operationId: "getDelivery",
    summary: "Get a delivery with its body",
    description: "The id of the event is accepted too.",
    scope: "read:webhooks",
    output: oneDelivery,
    sample: ofDelivery,
    run: async ({ service, params }) => await service.delivery(params.webhookId, params.deliveryId) as never,
  }),
  verb(`POST ${path}/:webhookId/deliveries/:deliveryId/replay`, {
    ...change,
    resource: "delivery",
    operationId: "replayDelivery",
    summary: "Send a delivery again",
    description:
      "It has the same `webhook-id`, so a receiver that has processed it detects the repeat. One that is pending stays as it is.",
    output: recordOf(delivery),
    errors: ["invalid_transition"],
    sample: ofDelivery,
    run: async ({ service, params, options }) => await service.replay(params.webhookId, params.deliveryId, options),
  }),
  verb(`GET ${path}/:webhookId/replays`, {
    ...one,
    operationId: "listWebhookReplays",
    summary: "List the replays of a webhook",
    scope: "read:webhooks",
    query: listQuery(webhookReplay),
    output: pageOf(webhookReplay),
    run: async ({ service, params, query }) => await service.replays(params.webhookId, ...listArguments(query)),
  }),
  verb(`POST ${path}/:webhookId/replays`, {
    ...change,
    operationId: "createWebhookReplay",
    summary: "Send again what failed, or what a webhook has not got",
    cost: 5,
    description:
      "The deliveries are made due in steps, in the background. An event keeps its `webhook-id`, and a repeated replay sends no event twice " +
      "unless its delivery failed again. It takes 5 requests from the caller's rate limit.",
    input: z.strictObject({
      since: instant.meta({ description: "Events that happened at this instant or later." }),
      kind: z.enum(REPLAY_KINDS).meta({
        description: "`failed`: deliveries that failed or wait for another attempt. `missing`: events without one.",
      }),
    }),
    output: recordOf(webhookReplay),
    errors: ["invalid_transition"],
    location: ({ id, webhookId }) => `${path}/${webhookId}/replays/${id}`,
    sample: { body: { since: "2026-01-01T00:00:00.000Z", kind: "failed" } },
    run: async ({ service, params, body, options }) => await service.replaySince(params.webhookId, body, options),
  }),
  verb(`GET ${path}/:webhookId/replays/:webhookReplayId`, {
    service: WebhookService,
    operationId: "getWebhookReplay",
    summary: "Get a replay and its progress",
    scope: "read:webhooks",
    output: recordOf(webhookReplay),
    run: async ({ service, params }) => await service.replayOf(params.webhookId, params.webhookReplayId),
  }),
];
