import { z } from "zod";
import { decimal } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { viewOf } from "../../core/schemas.ts";
import { instant, period } from "../../core/values.ts";
import { METRIC_KINDS } from "../metrics/entity.ts";
import { usageConsume, usageIncrement, usagePut, usageRecord } from "./entity.ts";
import { UsageService } from "./service.ts";

const path = "/v1/tenants/:tenantId/usage";
const usage = viewOf(usageRecord, {
  unit: z.string(),
  kind: z.enum(METRIC_KINDS),
  percentage: z.int().min(0).max(100),
  resetsAt: instant.nullable().meta({ description: "First instant of the next period; null for a gauge, which carries over." }),
});
const ofPeriod = z.strictObject({ period: period.optional().meta({ description: "YYYY-MM in UTC; the present month when left out." }) });
const consumption = z.object({
  allowed: z.boolean(),
  current: z.number(),
  limit: z.number().nullable(),
  remaining: z.number().nullable(),
});
const check = consumption.extend({ percentage: z.int().min(0).max(100) });
const counter = { params: { metric: "api_calls" } } as const;
const gauge = { params: { metric: "storage" } } as const;
const one = { service: UsageService, output: usage } as const;

/** Metering. Counting is not audited: it is the record itself. Corrections of counters are. */
export const routes: readonly Route[] = [
  verb(`GET ${path}`, {
    service: UsageService,
    operationId: "listUsage",
    summary: "List every metric of one period",
    scope: "read:usage",
    query: ofPeriod,
    output: z.object({ data: z.array(usage) }),
    run: async ({ service, params, query }) => ({ data: await service.getAll(params.tenantId, query.period) }),
  }),
  verb(`GET ${path}/:metric`, {
    ...one,
    operationId: "getUsage",
    summary: "Get one metric of one period",
    description: "A counter that was never used reads as zero, a gauge as it was left. The metrics are those of `/v1/metrics`.",
    scope: "read:usage",
    resource: "tenant",
    query: ofPeriod,
    sample: counter,
    run: async ({ service, params, query }) => await service.get(params.tenantId, params.metric, query.period),
  }),
  verb(`PUT ${path}/:metric`, {
    ...one,
    operationId: "recordUsage",
    summary: "Set a gauge, or correct a counter",
    description: "A correction is audited with what was there before.",
    scope: "write:usage",
    input: usagePut,
    sample: { ...gauge, body: (n) => ({ value: n }) },
    run: async ({ service, params, body, options }) =>
      await service.record(params.tenantId, params.metric, body.value, body.limit, body.period, options),
  }),
  verb(`POST ${path}/:metric/increment`, {
    ...one,
    operationId: "incrementUsage",
    summary: "Add to a metric, atomically",
    description: "A negative amount is taken off, never below zero; of a counter that is a correction, which is audited.",
    scope: "write:usage",
    input: usageIncrement,
    inputOptional: true,
    errors: ["usage_below_zero"],
    sample: counter,
    run: async ({ service, params, body, options }) =>
      await service.increment(params.tenantId, params.metric, body.amount, body.limit, body.period, options),
  }),
  verb(`POST ${path}/:metric/consume`, {
    service: UsageService,
    operationId: "consumeUsage",
    summary: "Add an amount only if all of it fits",
    description: "Answers whether it was added. Of many at once, exactly so many are allowed as fit.",
    scope: "write:usage",
    input: usageConsume,
    output: consumption,
    errors: ["precondition_failed", "write_conflict"],
    sample: { ...counter, body: { amount: 1 } },
    run: async ({ service, params, body, options }) =>
      await service.consume(params.tenantId, params.metric, body.amount, body.period, options),
  }),
  verb(`GET ${path}/:metric/check`, {
    service: UsageService,
    operationId: "checkUsage",
    summary: "Check whether an amount would still fit",
    description: "Nothing is counted.",
    scope: "read:usage",
    query: ofPeriod.extend({ amount: decimal(0, 1e12).optional() }),
    output: check,
    sample: { ...counter, query: "amount=1" },
    run: async ({ service, params, query }) => await service.check(params.tenantId, params.metric, query.amount, query.period),
  }),
];
