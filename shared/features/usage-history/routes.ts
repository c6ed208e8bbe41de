import { type Route, verb } from "../../core/route.ts";
import { forecast, history, historyQuery, months, monthsQuery } from "./entity.ts";
import { UsageHistoryService } from "./service.ts";

const path = "/v1/tenants/:tenantId/usage";
const one = { service: UsageHistoryService, scope: "read:usage", resource: "tenant" } as const;

/** Usage over time, for charts. */
export const routes: readonly Route[] = [
  verb(`GET ${path}/history`, {
    ...one,
    operationId: "listUsageMonths",
    summary: "List every metric by month",
    description: "At most 24 months. Without usage, a counter is zero and a gauge has its last value.",
    query: monthsQuery,
    output: months,
    run: async ({ service, params, query }) => {
      const data = await service.months(params.tenantId, query);
      return data && { data };
    },
  }),
  verb(`GET ${path}/:metric/history`, {
    ...one,
    operationId: "listUsageHistory",
    summary: "List one metric by hours, days, months or billing periods",
    description:
      "Up to 1,000 whole buckets, without gaps: without usage, a counter is zero and a gauge has its last value. Hours, and days of " +
      "another time zone than UTC, require a metric with the resolution `hour`.",
    query: historyQuery,
    output: history,
    sample: { params: { metric: "api_calls" } },
    run: async ({ service, params, query }) => await service.history(params.tenantId, params.metric, query),
  }),
  verb(`GET ${path}/:metric/forecast`, {
    ...one,
    operationId: "getUsageForecast",
    summary: "Project the usage of the current month",
    description: "A counter goes on with its average day, a gauge along its trend of 28 days.",
    output: forecast,
    sample: { params: { metric: "api_calls" } },
    run: async ({ service, params }) => await service.forecast(params.tenantId, params.metric),
  }),
];
