import { z } from "zod";
import { usageIncrement, usagePut } from "../inputs.ts";
import { type Metric, METRICS } from "./entity.ts";
import { period } from "../../core/values.ts";
import { errors } from "../../kernel/errors.ts";
import { isUsageMetric } from "./rules.ts";
import { defineRoute, type Route } from "../../core/route.ts";
import { decimal } from "../../core/list-query.ts";
import { assertOwnFields } from "../../../functions/api/tenant-scope.ts";
import { answer, counter } from "../../core/reply.ts";
import { usageView } from "../../core/schemas.ts";

const path = "/v1/tenants/:tenantId/usage";
const ofPeriod = z.strictObject({ period: period.optional().meta({ description: "YYYY-MM in UTC; the present month when left out." }) });
const one = { 200: { description: "The usage of one metric.", schema: usageView } };
const check = z.object({
  allowed: z.boolean(),
  current: z.number(),
  limit: z.number().nullable(),
  remaining: z.number().nullable(),
  percentage: z.int().min(0).max(100),
});

/** Metering: gauges are put, counters are incremented. Not audited: the counting itself is the record. */
export const usageRoutes: Route[] = [
  defineRoute({
    method: "GET",
    path,
    operationId: "listUsage",
    summary: "Every metric of one period",
    scope: "read:usage",
    query: ofPeriod,
    responses: { 200: { description: "All metrics, used or not.", schema: z.object({ data: z.array(usageView) }) } },
    handler: async ({ params, query, services }) => answer({ data: await services.UsageService.getAll(params.tenantId, query.period) }),
  }),
  defineRoute({
    method: "GET",
    path: `${path}/:metric`,
    operationId: "getUsage",
    summary: "One metric of one period; zero when never used",
    scope: "read:usage",
    description: `Metrics: ${METRICS.join(", ")}.`,
    query: ofPeriod,
    responses: one,
    handler: async ({ params, query, services }) => {
      const found = await services.UsageService.get(params.tenantId, metricOf(params.metric), query.period);
      if (!found) throw errors.notFound("tenant", params.tenantId);
      return counter(found);
    },
  }),
  defineRoute({
    method: "PUT",
    path: `${path}/:metric`,
    operationId: "recordUsage",
    summary: "Set a gauge",
    scope: "write:usage",
    body: usagePut,
    responses: one,
    handler: async ({ params, body, services, caller, ifMatch }) => {
      assertOwnFields(caller, "usage", body);
      return counter(
        await services.UsageService.record(params.tenantId, metricOf(params.metric), body.value, body.limit, body.period, { ifMatch }),
      );
    },
  }),
  defineRoute({
    method: "POST",
    path: `${path}/:metric/increment`,
    operationId: "incrementUsage",
    summary: "Add to a counter, atomically",
    scope: "write:usage",
    body: usageIncrement,
    bodyOptional: true,
    responses: one,
    handler: async ({ params, body, services, caller, ifMatch }) => {
      assertOwnFields(caller, "usage", body);
      return counter(
        await services.UsageService.increment(params.tenantId, metricOf(params.metric), body.amount, body.limit, body.period, { ifMatch }),
      );
    },
  }),
  defineRoute({
    method: "GET",
    path: `${path}/:metric/check`,
    operationId: "checkUsage",
    summary: "Whether an amount would still fit",
    scope: "read:usage",
    query: ofPeriod.extend({ amount: decimal(0, 1e12).optional() }),
    responses: { 200: { description: "The answer; nothing is counted.", schema: check } },
    handler: async ({ params, query, services }) =>
      answer(await services.UsageService.check(params.tenantId, metricOf(params.metric), query.amount, query.period)),
  }),
];

function metricOf(name: string): Metric {
  if (!isUsageMetric(name)) throw errors.notFound("metric", name);
  return name;
}
