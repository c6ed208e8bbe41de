import { z } from "zod";
import { instant, period } from "../../core/values.ts";
import { isTimestamp } from "../../kv/key.ts";
import { METRIC_KINDS } from "../metrics/entity.ts";
import { METRIC_UNIT } from "../usage/entity.ts";
import { BUCKETS } from "./buckets.ts";

/** This feature stores nothing: it reads usage records. These are the schemas of its parameters and responses. */

const DAY = /^\d{4}-\d{2}-\d{2}$/;
const moment = z.string()
  .refine((text) => isTimestamp(DAY.test(text) ? `${text}T00:00:00.000Z` : text), "must be a day YYYY-MM-DD or a UTC instant");

export const historyQuery = z.strictObject({
  bucket: z.enum(BUCKETS).optional().meta({ description: "The size of a bucket.", default: "day" }),
  from: moment.optional().meta({
    description: "The instant or day with which the first bucket begins. Default: 24 hours, 30 days, 12 months or 12 billing periods ago.",
  }),
  to: moment.optional().meta({ description: "The instant before which, or the day with which, the last bucket ends. Default: now." }),
  timeZone: z.string().min(1).max(64).optional().meta({
    description: "A name of the IANA time zone database, such as `Europe/Madrid`, for days and months.",
    default: "UTC",
  }),
});
export type HistoryQuery = z.output<typeof historyQuery>;

export const monthsQuery = z.strictObject({
  from: period.optional().meta({ description: "The first month. Default: 11 months before `to`." }),
  to: period.optional().meta({ description: "The last month. Default: the current one." }),
});
export type MonthsQuery = z.output<typeof monthsQuery>;

const amount = z.number().meta({ description: `In ${METRIC_UNIT}. For a gauge, the level at the end of the bucket.` });
const ofMetric = {
  metric: z.string(),
  unit: z.string().meta({ description: "The unit of the metric." }),
  kind: z.enum(METRIC_KINDS),
};
export const history = z.object({
  ...ofMetric,
  bucket: z.enum(BUCKETS),
  timeZone: z.string(),
  data: z.array(z.object({ start: instant, end: instant, amount })),
}).meta({
  examples: [{
    metric: "api_calls",
    unit: "calls",
    kind: "counter",
    bucket: "day",
    timeZone: "UTC",
    data: [{ start: "2026-11-01T00:00:00.000Z", end: "2026-11-02T00:00:00.000Z", amount: 1200 }],
  }],
});
export const months = z.object({ data: z.array(z.object({ ...ofMetric, months: z.array(z.object({ period, amount })) })) }).meta({
  examples: [{ data: [{ metric: "api_calls", unit: "calls", kind: "counter", months: [{ period: "2026-11", amount: 1200 }] }] }],
});
export const forecast = z.object({
  ...ofMetric,
  current: z.number().meta({ description: `Used so far in the current month, in ${METRIC_UNIT}.` }),
  limit: z.number().nullable().meta({ description: `In ${METRIC_UNIT}. Null means unlimited.` }),
  projected: z.number().meta({ description: `At the end of the current month if usage goes on as it did, in ${METRIC_UNIT}.` }),
  projectedPercentage: z.int().meta({ description: "Percentage of the limit, above 100 if it is exceeded; 0 if there is no limit." }),
  exhaustsAt: instant.nullable().meta({
    description: "When the limit is reached. Null if it is not: within the month for a counter, within 366 days for a gauge.",
  }),
  basis: z.object({
    method: z.enum(["daily_average", "linear_trend"]),
    days: z.int().meta({ description: "The number of days of this month and before on which it is based." }),
    dailyRate: z.number().meta({ description: `What a day adds, in ${METRIC_UNIT}.` }),
  }),
}).meta({
  examples: [{
    metric: "api_calls",
    unit: "calls",
    kind: "counter",
    current: 600_000,
    limit: 1_000_000,
    projected: 1_200_000,
    projectedPercentage: 120,
    exhaustsAt: "2026-11-25T00:00:00.000Z",
    basis: { method: "daily_average", days: 43, dailyRate: 40_000 },
  }],
});
