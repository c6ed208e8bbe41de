import { z } from "zod";
import { day, instant, period, quantity, QUANTITY_DECIMALS, segment } from "../../core/values.ts";
import { defineEntity } from "../../kv/define.ts";
import type { RecordOf } from "../../kv/define.ts";

/** The unit of amounts, for descriptions. */
export const METRIC_UNIT = "the metric's unit, such as bytes of `storage`";

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
    current: z.number().min(0).default(0).meta({ description: `Used in the period, in ${METRIC_UNIT}.` }),
    limit: z.number().min(0).nullable().default(null).meta({ description: `In ${METRIC_UNIT}. Null means unlimited.` }),
    daily: z.record(day, z.number().meta({ description: `The amount of one day, in ${METRIC_UNIT}.` })).default({})
      .meta({ description: "The amount of each day. For a gauge it is the last value of the day." }),
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
    limit: 1_000_000,
    daily: { "2026-01-01": 1200 },
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-01T12:00:00.000Z",
  },
});

export type UsageRecord = RecordOf<typeof usageRecord>;

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
