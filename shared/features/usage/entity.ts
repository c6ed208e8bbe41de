import { z } from "zod";
import { defineEntity } from "../../kv/define.ts";
import type { RecordOf } from "../../kv/define.ts";
import { day, instant, period, quantity, segment } from "../../core/values.ts";

export const METRICS = ["users", "properties", "rooms", "bookings", "api_calls", "storage"] as const;
export type Metric = (typeof METRICS)[number];

/** The unit of every amount of a metric. */
export const METRIC_UNIT = "the metric's unit: bytes of `storage`, else a count";

export const usageRecord = defineEntity({
  name: "usage-record",
  summary: "One metric of one tenant in one month.",
  key: "usage:{tenantId}:{metric}:{period}",
  schema: z.looseObject({
    id: z.string(),
    tenantId: segment,
    metric: z.enum(METRICS),
    period,
    current: z.number().min(0).default(0).meta({ description: `Used in the period, in ${METRIC_UNIT}.` }),
    limit: z.number().min(0).nullable().default(null).meta({ description: `In ${METRIC_UNIT}; null is unlimited.` }),
    daily: z.record(day, z.number().meta({ description: `Of one day, in ${METRIC_UNIT}.` })).default({})
      .meta({ description: "Amount of each day; a gauge's day holds its last value." }),
    createdAt: instant,
    updatedAt: instant.optional(),
  }),
  owner: "tenant",
  retention: { days: 730, after: "updatedAt" },
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

const limit = quantity(1e15).nullable().optional().meta({
  description: `In ${METRIC_UNIT}; at most 6 decimals; null is unlimited; kept when left out.`,
});
const amountOf = (max: number, what: string) => quantity(max).meta({ description: `${what}, in ${METRIC_UNIT}; at most 6 decimals.` });
export const usagePut = z.strictObject({ value: amountOf(1e15, "What there is now"), limit, period: period.optional() });
/** A counter only grows; a put sets it back. */
export const usageIncrement = z.strictObject({ amount: amountOf(1e12, "What to add").default(1), limit, period: period.optional() });
