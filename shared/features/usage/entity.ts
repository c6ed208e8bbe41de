import { z } from "zod";
import { byServer } from "../../core/fields.ts";
import { day, instant, period, quantity, QUANTITY_DECIMALS, segment } from "../../core/values.ts";
import { defineEntity } from "../../kv/define.ts";
import type { RecordOf } from "../../kv/define.ts";

/** The unit of amounts, for descriptions. */
export const METRIC_UNIT = "the metric's unit, such as bytes of `storage`";

/** An hour in UTC, `YYYY-MM-DDTHH`. */
const hour = z.string().regex(/^\d{4}-\d{2}-\d{2}T([01]\d|2[0-3])$/, "must be YYYY-MM-DDTHH");

export const usageRecord = defineEntity({
  name: "usage-record",
  summary: "One metric of one tenant in one month.",
  key: "usage:{tenantId}:{metric}:{period}",
  schema: z.looseObject({
    id: z.string(),
    tenantId: segment,
    /** An id of the metric catalogue. */
    metric: segment,
    period,
    current: z.number().min(0).default(0).meta({ description: `Used or reserved in the period, in ${METRIC_UNIT}.` }),
    reserved: z.number().min(0).default(0).meta({ description: `The part of \`current\` that is reserved, in ${METRIC_UNIT}.` }),
    limit: z.number().min(0).nullable().default(null).meta({ description: `In ${METRIC_UNIT}. Null means unlimited.` }),
    daily: z.record(day, z.number().meta({ description: `The amount of one day, in ${METRIC_UNIT}.` })).default({})
      .meta({ description: "The amount of each day. For a gauge it is the last value of the day." }),
    hourly: z.record(hour, z.number().meta({ description: `The amount of one hour, in ${METRIC_UNIT}.` })).optional()
      .meta({ description: "The amount of each hour in UTC. Only for a metric with the resolution `hour`." }),
    adjustments: z.record(period, z.number().meta({ description: `The amount of one closed month, in ${METRIC_UNIT}.` })).optional()
      .meta({ description: "What is counted here for closed months, by month: late usage events, and corrections of events." }),
    levelAt: instant.optional().meta({ description: "The time of the last level of a gauge. An older usage event does not change it." }),
    createdAt: instant,
    updatedAt: instant.optional(),
  }),
  owner: "tenant",
  retention: { days: 730, after: "updatedAt" },
  filterable: ["metric"],
  frequentUpdates: true,
  naturalKey: true,
  exported: true,
  example: {
    id: "usage:tn_1767225600000_a1b2c3d4e5f6:api_calls:2026-01",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    metric: "api_calls",
    period: "2026-01",
    current: 1200,
    reserved: 0,
    limit: 1_000_000,
    daily: { "2026-01-01": 1200 },
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-01T12:00:00.000Z",
  },
});

export type UsageRecord = RecordOf<typeof usageRecord>;

const { current, reserved, limit: recordLimit, daily } = usageRecord.schema.shape;
/** What a decision about an amount needs of a usage record. Parsing the whole record takes twice as long. */
export const usageCount = z.object({ current, reserved, limit: recordLimit, daily });
export type UsageCount = z.output<typeof usageCount>;

/** Written with the first count of each 10 seconds, so that usage itself needs no index that every count would have to maintain. */
export const usageChange = defineEntity({
  name: "usage-change",
  summary: "Says that usage of a tenant in a month changed, so that the job `usage` finds it.",
  key: "usagechange:{tenantId}:{period}",
  schema: z.looseObject({
    tenantId: byServer(segment),
    period: byServer(period),
    until: byServer(instant.meta({ description: "From then on the job deletes it: no count that it stands for can be on its way." })),
  }),
  owner: "tenant",
  filterable: ["until"],
  sortable: ["until"],
  indexes: [["until"]],
  example: { tenantId: "tn_1767225600000_a1b2c3d4e5f6", period: "2026-01", until: "2026-01-01T12:02:40.000Z" },
});

export const usageLevel = defineEntity({
  name: "usage-level",
  summary: "A copy of one metric's usage of a tenant in a month, at most a minute old, by which all tenants are sorted and summed.",
  key: "usagelevel:{tenantId}:{metric}:{period}",
  schema: z.looseObject({
    tenantId: byServer(segment),
    metric: byServer(segment),
    period: byServer(period),
    current: byServer(z.number().min(0).meta({ description: `Used in the period, in ${METRIC_UNIT}.` })),
    limit: byServer(z.number().min(0).nullable().meta({ description: `In ${METRIC_UNIT}. Null means unlimited.` })),
    percentage: byServer(z.int().min(0).max(100).meta({ description: "Of the limit; 0 if there is none." })),
    updatedAt: byServer(instant),
  }),
  owner: "tenant",
  retention: { days: 730, after: "updatedAt" },
  filterable: ["tenantId", "metric", "period", "percentage"],
  sortable: ["percentage", "current"],
  defaultSort: "-percentage",
  indexes: [["metric", "period", "percentage"], ["metric", "period", "current"], ["period", "percentage"], ["tenantId", "period"]],
  rollup: { groupBy: ["metric", "period"], sum: "current" },
  example: {
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    metric: "api_calls",
    period: "2026-01",
    current: 1200,
    limit: 1_000_000,
    percentage: 0,
    updatedAt: "2026-01-01T12:00:00.000Z",
  },
});

export type UsageLevel = RecordOf<typeof usageLevel>;

export const usageMonth = defineEntity({
  name: "usage-month",
  summary: "The month that the percentages of all tenants stand for. In another month, the job `usage` computes them again.",
  key: "usagemonth:{id}",
  schema: z.looseObject({ id: byServer(z.literal("current")), period: byServer(period), updatedAt: byServer(instant) }),
  owner: "platform",
  example: { id: "current", period: "2026-01", updatedAt: "2026-01-01T00:00:10.000Z" },
});

const MAX_AMOUNT = 1e12;
const difference = z.number().min(-MAX_AMOUNT).max(MAX_AMOUNT)
  .refine((by) => Number(by.toFixed(QUANTITY_DECIMALS)) === by, `must have at most ${QUANTITY_DECIMALS} decimals`)
  .meta({
    description: `The amount to add, in ${METRIC_UNIT}, with at most ${QUANTITY_DECIMALS} decimals. A negative amount is subtracted.`,
  });
const limit = quantity(1e15).nullable().optional().meta({
  description: `In ${METRIC_UNIT}, with at most 6 decimals. Null means unlimited. Unchanged if omitted.`,
});
const amountOf = (max: number, what: string) => quantity(max).meta({ description: `${what}, in ${METRIC_UNIT}, with at most 6 decimals.` });
export const usagePut = z.strictObject({ value: amountOf(1e15, "The new value"), limit, period: period.optional() });
export const usageIncrement = z.strictObject({ amount: difference.default(1), limit, period: period.optional() });
export const usageConsume = z.strictObject({ amount: amountOf(MAX_AMOUNT, "The amount to add if it fits"), period: period.optional() });
