import { z } from "zod";
import { decimal, listArguments, listQuery } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { component, exampleOf, pageOfViews } from "../../core/schemas.ts";
import { period, segment } from "../../core/values.ts";
import { METRIC_POLICIES } from "../metrics/entity.ts";
import { METRIC_UNIT, usageConsume, usageIncrement, usageLevel, usagePut } from "./entity.ts";
import { UsageLevelService, UsageService } from "./service.ts";
import { overLimit, percentage, usageView as usage } from "./view.ts";

const path = "/v1/tenants/:tenantId/usage";
const ofPeriod = z.strictObject({ period: period.optional().meta({ description: "YYYY-MM in UTC. Default: the current month." }) });
const consumption = z.object({
  allowed: z.boolean(),
  current: z.number().meta({ description: `Used so far, in ${METRIC_UNIT}.` }),
  limit: z.number().nullable().meta({ description: `In ${METRIC_UNIT}. Null means unlimited.` }),
  remaining: z.number().nullable().meta({ description: `What remains of the limit, in ${METRIC_UNIT}. Null means unlimited.` }),
  policy: z.enum(METRIC_POLICIES).meta({ description: "What the metric does above the limit." }),
  overLimit: overLimit.meta({ description: "Whether the limit is reached or exceeded, with the amount if it is allowed." }),
  overage: z.number().min(0).meta({ description: `What is above the limit with the amount if it is allowed, in ${METRIC_UNIT}.` }),
});
const example = {
  allowed: true,
  current: 1200,
  limit: 1_000_000,
  remaining: 998_800,
  policy: "hard",
  overLimit: false,
  overage: 0,
} as const;
const consumed = consumption.meta({ examples: [example] });
const check = consumption.extend({ percentage }).meta({ examples: [{ ...example, percentage: 0 }] });
const counter = { params: { metric: "api_calls" } } as const;
const gauge = { params: { metric: "storage" } } as const;
const one = { service: UsageService, output: usage } as const;

const acrossPage = pageOfViews("UsagePage", usage);
const totals = component(
  "UsageTotals",
  z.object({
    data: z.array(z.object({
      metric: segment,
      period,
      current: z.number().meta({ description: `The sum over all tenants, in ${METRIC_UNIT}.` }),
      tenants: z.int().meta({ description: "The number of tenants that have used the metric in the month." }),
    })).meta({ description: "Every month of the range for every metric, also without usage." }),
  }),
  () => ({ data: [{ metric: "api_calls", period: "2026-01", current: 1_250_000, tenants: 42 }] }),
);

/** Metering. Increments are not audited, because the usage record is the record of them. Corrections of counters are audited. */
export const routes: readonly Route[] = [
  verb("GET /v1/usage", {
    service: UsageLevelService,
    operationId: "listUsageOfTenants",
    summary: "List the usage of all tenants in a month",
    description: "Default: the current month. Filters and order are at most a minute behind the numbers shown. " +
      "A metric that a tenant has not used is not listed.",
    scope: "read:usage",
    platformOnly: true,
    query: listQuery(usageLevel),
    output: acrossPage,
    sample: {
      prepare: async (_, { tenantId = "" }, use) => {
        await use(UsageService).increment(tenantId, "api_calls");
        await use(UsageService).refreshPercent(tenantId);
      },
    },
    run: async ({ service, query }) => await service.list(...listArguments(query)),
  }),
  verb("GET /v1/usage/totals", {
    service: UsageLevelService,
    operationId: "getUsageTotals",
    summary: "Get the usage of all tenants by metric and month",
    description: "At most a minute behind. Usage of deleted tenants is not contained. The total of a gauge is the sum of the last levels.",
    scope: "read:usage",
    platformOnly: true,
    query: z.strictObject({
      from: period.optional().meta({ description: "The first month, YYYY-MM. Default: 11 months before `to`." }),
      to: period.optional().meta({ description: "The last month, YYYY-MM. Default: the current month." }),
      metric: segment.optional().meta({ description: "Only this metric. Default: all." }),
    }),
    output: totals,
    run: async ({ service, query }) => ({ data: await service.totals(query) }),
  }),
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
    description: "Without usage in the period, a counter is zero and a gauge has its last value. `/v1/metrics` lists the metrics.",
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
    description: "The value does not include what is reserved. A correction, also of a gauge in a closed month, is audited with the " +
      "previous value.",
    scope: "write:usage",
    input: usagePut,
    sample: { ...gauge, auditEntries: 0, body: (n) => ({ value: n }) },
    run: async ({ service, params, body, options }) =>
      await service.record(params.tenantId, params.metric, body.value, body.limit, body.period, options),
  }),
  verb(`POST ${path}/:metric/increment`, {
    ...one,
    operationId: "incrementUsage",
    summary: "Add to a metric, atomically",
    description: "A negative amount is subtracted, but never below zero. For a counter that is a correction, which is audited.",
    scope: "write:usage",
    input: usageIncrement,
    inputOptional: true,
    errors: ["usage_below_zero", "period_closed"],
    sample: { ...counter, auditEntries: 0 },
    run: async ({ service, params, body, options }) =>
      await service.increment(params.tenantId, params.metric, body.amount, body.limit, body.period, options),
  }),
  verb(`POST ${path}/:metric/consume`, {
    service: UsageService,
    operationId: "consumeUsage",
    summary: "Add an amount only if all of it fits",
    description: "Returns whether the amount was added. Concurrent calls never exceed the limit together.",
    scope: "write:usage",
    input: usageConsume,
    output: consumed,
    errors: ["period_closed", "precondition_failed", "write_conflict"],
    sample: { ...counter, auditEntries: 0, body: { amount: 1 } },
    run: async ({ service, params, body, options }) =>
      await service.consume(params.tenantId, params.metric, body.amount, body.period, options),
  }),
  verb(`GET ${path}/:metric/check`, {
    service: UsageService,
    operationId: "checkUsage",
    summary: "Check whether an amount fits the limit",
    description: "Records nothing.",
    scope: "read:usage",
    query: ofPeriod.extend({ amount: decimal(0, 1e12).optional().meta({ description: `The amount, in ${METRIC_UNIT}.`, default: 1 }) }),
    output: check,
    sample: { ...counter, query: "amount=1" },
    run: async ({ service, params, query }) => await service.check(params.tenantId, params.metric, query.amount, query.period),
  }),
];
