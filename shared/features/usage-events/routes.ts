import { z } from "zod";
import { listArguments, listQuery } from "../../core/list-query.ts";
import { created, replied, type Route, verb } from "../../core/route.ts";
import { pageOf, recordOf } from "../../core/schemas.ts";
import { period, segment } from "../../core/values.ts";
import { METRIC_UNIT } from "../usage/entity.ts";
import { eventsBody, eventsShown, eventTrack } from "./cloud-event.ts";
import { eventCorrection, eventVoid, usageEvent } from "./entity.ts";
import { UsageEventService } from "./service.ts";

const path = "/v1/tenants/:tenantId/usage";
const one = { service: UsageEventService, output: recordOf(usageEvent), resource: "usageEvent" } as const;
const ID = "5f8a0c9be2f1d1c9d6f3a0a1c1f0e7b2f0f7b1f64b1d1d0a5f8a0c9be2f1d1c9";

const outcome = {
  period: period.meta({ description: "The month in which the event is counted." }),
  adjusts: period.optional().meta({ description: "The closed month of the event's time. It is counted in `period` as an adjustment." }),
  applied: z.boolean().meta({ description: "False for an event of a gauge that is older than its level, which it leaves unchanged." }),
  usageEventId: segment.meta({ description: "The id of the stored event, by which it can be read, voided and corrected." }),
};
const result = z.object({
  id: z.string().nullable().meta({ description: "The `id` of the event. Null if it has none." }),
  source: z.string().nullable().meta({ description: "The `source` of the event. Null if it has none." }),
  status: z.enum(["accepted", "adjusted", "duplicate", "rejected"]),
  ...z.object(outcome).partial().shape,
  error: z.object({ code: z.string(), path: z.string(), message: z.string() }).optional().meta({
    description: "Why the event was rejected. `path` is a JSON Pointer into the event.",
  }),
});
const accepted = {
  id: "call-4711",
  source: "/gateways/eu-1",
  status: "accepted",
  period: "2026-11",
  applied: true,
  usageEventId: ID,
} as const;
const results = z.object({ data: z.array(result) }).meta({ examples: [{ data: [accepted] }] });
const tracked = z.object({ status: z.enum(["accepted", "adjusted", "duplicate"]), ...outcome })
  .meta({ examples: [{ status: "accepted", period: "2026-11", applied: true, usageEventId: ID }] });
const groups = z.object({
  metric: segment,
  period,
  dimension: z.string(),
  data: z.array(z.object({ value: z.string(), amount: z.number().meta({ description: `In ${METRIC_UNIT}.` }) })),
}).meta({ examples: [{ metric: "api_calls", period: "2026-11", dimension: "endpoint", data: [{ value: "/v1/rooms", amount: 900 }] }] });

const sampleEvent = (n: number) => ({
  specversion: "1.0",
  id: `call-${n}`,
  source: "/gateways/eu-1",
  type: "api_calls",
  subject: usageEvent.example.tenantId,
  data: { amount: 3, userId: "user-7" },
});
/** The event that the samples of void and correct name is made by a call of `track`. */
const sampleTrack = (n: number) => ({ meter_id: "api_calls", user_id: "user-7", event_value: 3, event_id: `sample-${n}` });

/** Usage events. Counting is not audited, because the stored events are the record of it. Corrections of events are audited. */
export const routes: readonly Route[] = [
  verb("POST /v1/usage/events", {
    service: UsageEventService,
    operationId: "ingestUsageEvents",
    summary: "Count usage events",
    description:
      "CloudEvents 1.0 in structured mode: one event, or a batch of up to 1,000 whose results are independent. `type` is a metric, " +
      "`subject` a tenant. An event that is sent again with the same `source` and `id` counts once. Each event of a batch has a result " +
      "with status 200; a single event that is rejected is an error of the request.",
    scope: "write:usage",
    input: eventsBody,
    shownInput: eventsShown,
    inputTypes: ["application/cloudevents+json", "application/cloudevents-batch+json"],
    checksItems: true,
    output: results,
    errors: ["not_found", "idempotency_mismatch", "write_conflict"],
    sample: { auditEntries: 0, body: sampleEvent },
    run: async ({ service, body }) => ({ data: await service.ingest(body) }),
  }),
  verb(`POST ${path}/track`, {
    service: UsageEventService,
    operationId: "trackUsage",
    summary: "Count one usage event",
    description: "Stores and counts an event with the source `urn:innkeep:track`. Responds with 200 if it was counted before.",
    scope: "write:usage",
    input: eventTrack,
    output: tracked,
    location: ({ usageEventId }) => `/v1/tenants/:tenantId/usage-events/${usageEventId}`,
    replaces: true,
    errors: ["idempotency_mismatch", "write_conflict"],
    sample: { auditEntries: 0, body: sampleTrack, makes: `${path}-events` },
    run: async ({ service, params, body }) => {
      const event = await service.track(params.tenantId, body);
      if (event.status === "duplicate") return replied(event);
      return created(event, `/v1/tenants/${params.tenantId}/usage-events/${event.usageEventId}`);
    },
  }),
  verb(`GET ${path}-events`, {
    service: UsageEventService,
    operationId: "listUsageEvents",
    summary: "List usage events",
    description: "The events that were received for the tenant, the latest first. They are kept for 400 days.",
    scope: "read:usage",
    query: listQuery(usageEvent),
    output: pageOf(usageEvent),
    run: async ({ service, params, query }) => await service.list(params.tenantId, ...listArguments(query)),
  }),
  verb(`GET ${path}-events/:usageEventId`, {
    ...one,
    operationId: "getUsageEvent",
    summary: "Get a usage event",
    scope: "read:usage",
    run: async ({ service, params }) => await service.get(params.tenantId, params.usageEventId),
  }),
  verb(`POST ${path}-events/:usageEventId/void`, {
    ...one,
    operationId: "voidUsageEvent",
    summary: "Void a usage event",
    description: "Subtracts what the event counted, in its month or, once that is closed, in the current month as an adjustment.",
    scope: "write:usage",
    input: eventVoid,
    errors: ["usage_below_zero"],
    sample: { body: { reason: "Sent by a test." } },
    run: async ({ service, params, body, options }) => await service.void(params.tenantId, params.usageEventId, body, options),
  }),
  verb(`POST ${path}-events/:usageEventId/correct`, {
    ...one,
    operationId: "correctUsageEvent",
    summary: "Correct the amount of a usage event",
    description: "Counts the difference in the month of the event or, once that is closed, in the current month as an adjustment.",
    scope: "write:usage",
    input: eventCorrection,
    errors: ["usage_below_zero", "invalid_transition"],
    sample: { body: { amount: 2, reason: "Counted twice by the gateway." } },
    run: async ({ service, params, body, options }) => await service.correct(params.tenantId, params.usageEventId, body, options),
  }),
  verb(`GET ${path}/:metric/groups`, {
    service: UsageEventService,
    operationId: "listUsageGroups",
    summary: "List the usage of a month by the values of a dimension",
    description: "Sums the usage events that have the dimension. A metric names its dimensions.",
    scope: "read:usage",
    resource: "tenant",
    query: z.strictObject({
      dimension: z.string().min(1).max(40).meta({ description: "A dimension of the metric." }),
      period: period.optional().meta({ description: "YYYY-MM in UTC. Default: the current month." }),
    }),
    output: groups,
    sample: { params: { metric: "api_calls" }, query: "dimension=endpoint" },
    run: async ({ service, params, query }) => await service.groups(params.tenantId, params.metric, query.dimension, query.period),
  }),
];
