import { z } from "zod";
import { decimal } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { exampleOf, viewOf } from "../../core/schemas.ts";
import { instant, period } from "../../core/values.ts";
import { errors } from "../../kernel/errors.ts";
import { type Metric, METRIC_UNIT, METRICS, usageIncrement, usagePut, usageRecord } from "./entity.ts";
import { isUsageMetric } from "./rules.ts";
import { UsageService } from "./service.ts";

const path = "/v1/tenants/:tenantId/usage";
const percentage = z.int().min(0).max(100).meta({ description: "Of the limit, in whole per cent; 0 without one.", examples: [42] });
const usage = viewOf(usageRecord, { percentage, resetsAt: instant.meta({ examples: ["2026-02-01T00:00:00.000Z"] }) });
const ofPeriod = z.strictObject({ period: period.optional().meta({ description: "YYYY-MM in UTC; the present month when left out." }) });
const check = z.object({
  allowed: z.boolean(),
  current: z.number().meta({ description: `Used so far, in ${METRIC_UNIT}.` }),
  limit: z.number().nullable().meta({ description: `In ${METRIC_UNIT}; null is unlimited.` }),
  remaining: z.number().nullable().meta({ description: `Left of the limit, in ${METRIC_UNIT}; null is unlimited.` }),
  percentage,
}).meta({ examples: [{ allowed: true, current: 1200, limit: 1_000_000, remaining: 998_800, percentage: 0 }] });
const sample = { params: { metric: "api_calls" } } as const;
const one = { service: UsageService, output: usage } as const;

/** Metering. Not audited: the counting itself is the record. */
export const routes: readonly Route[] = [
  verb(`GET ${path}`, {
    service: UsageService,
    operationId: "listUsage",
    summary: "List every metric of one period",
    scope: "read:usage",
    query: ofPeriod,
    output: z.object({ data: z.array(usage) }).meta({ examples: [{ data: [exampleOf(usage)] }] }),
    run: async ({ service, params, query }) => ({ data: await service.getAll(params.tenantId, query.period) }),
  }),
  verb(`GET ${path}/:metric`, {
    ...one,
    operationId: "getUsage",
    summary: "Get one metric of one period",
    description: `Zero when it was never used. Metrics: ${METRICS.join(", ")}.`,
    scope: "read:usage",
    resource: "tenant",
    query: ofPeriod,
    sample,
    run: async ({ service, params, query }) => await service.get(params.tenantId, metricOf(params.metric), query.period),
  }),
  verb(`PUT ${path}/:metric`, {
    ...one,
    operationId: "recordUsage",
    summary: "Set a gauge",
    scope: "write:usage",
    input: usagePut,
    sample: { ...sample, auditEntries: 0, body: (n) => ({ value: n }) },
    run: async ({ service, params, body, options }) =>
      await service.record(params.tenantId, metricOf(params.metric), body.value, body.limit, body.period, options),
  }),
  verb(`POST ${path}/:metric/increment`, {
    ...one,
    operationId: "incrementUsage",
    summary: "Add to a counter, atomically",
    scope: "write:usage",
    input: usageIncrement,
    inputOptional: true,
    sample: { ...sample, auditEntries: 0 },
    run: async ({ service, params, body, options }) =>
      await service.increment(params.tenantId, metricOf(params.metric), body.amount, body.limit, body.period, options),
  }),
  verb(`GET ${path}/:metric/check`, {
    service: UsageService,
    operationId: "checkUsage",
    summary: "Check whether an amount would still fit",
    description: "Nothing is counted.",
    scope: "read:usage",
    query: ofPeriod.extend({ amount: decimal(0, 1e12).optional().meta({ description: `How much more, in ${METRIC_UNIT}.`, default: 1 }) }),
    output: check,
    sample: { ...sample, query: "amount=1" },
    run: async ({ service, params, query }) => await service.check(params.tenantId, metricOf(params.metric), query.amount, query.period),
  }),
];

function metricOf(name: string): Metric {
  if (!isUsageMetric(name)) throw errors.notFound("metric", name);
  return name;
}
