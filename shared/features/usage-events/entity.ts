import { z } from "zod";
import { changedInstant } from "../../core/fields.ts";
import { instant, period, quantity, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { METRIC_UNIT } from "../usage/entity.ts";

export const USAGE_EVENT_STATUSES = ["counted", "corrected", "voided"] as const;
const dimensions = z.record(z.string(), z.string());

export const usageEvent = defineEntity({
  name: "usage-event",
  summary: "A usage event that was received. It is written in the commit that counts it, and makes a repeat of it a duplicate.",
  key: "usageevent:{id}",
  schema: z.looseObject({
    id: segment.meta({ description: "The SHA-256 of `source` and `eventId`, in hexadecimal." }),
    source: z.string().meta({ description: "The CloudEvents `source`." }),
    eventId: z.string().meta({ description: "The CloudEvents `id`." }),
    tenantId: segment,
    metric: segment.meta({ description: "The CloudEvents `type`: an id of the metric catalogue." }),
    time: instant.meta({ description: "When the usage happened." }),
    amount: z.number().min(0).meta({ description: `As received, in ${METRIC_UNIT}. For a gauge, the level.` }),
    userId: z.string().optional(),
    dimensions: dimensions.optional(),
    properties: z.record(z.string(), z.json()).optional(),
    period: period.meta({ description: "The month in which the event was counted." }),
    adjusts: period.optional().meta({
      description: "The closed month in which the usage happened. The event was counted in `period` as an adjustment.",
    }),
    applied: z.boolean().meta({
      description: "False for an event of a gauge that is older than its level, or of a closed month: it left the level unchanged.",
    }),
    counted: z.record(period, z.number().meta({ description: `In ${METRIC_UNIT}.` })).meta({
      description: `What the event adds to the usage of each month, in ${METRIC_UNIT}, after its corrections. Empty for a gauge.`,
    }),
    status: z.enum(USAGE_EVENT_STATUSES),
    reason: z.string().optional().meta({ description: "Why the event was voided or corrected." }),
    receivedAt: instant,
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  subjects: { userId: "userId" },
  // An event is accepted up to 366 days after its time, so no repeat of it can be counted after it is deleted.
  retention: { days: 400, after: "receivedAt" },
  filterable: ["metric", "period", "status", "time"],
  sortable: ["time", "receivedAt"],
  defaultSort: "-time",
  indexes: [["@tenantId", "time"], ["@tenantId", "metric", "time"]],
  exported: true,
  example: {
    id: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    source: "/gateways/eu-1",
    eventId: "call-4711",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    metric: "api_calls",
    time: "2026-01-01T12:00:00.000Z",
    amount: 1,
    userId: "user-7",
    dimensions: { endpoint: "/v1/rooms" },
    period: "2026-01",
    applied: true,
    counted: { "2026-01": 1 },
    status: "counted",
    receivedAt: "2026-01-01T12:00:01.000Z",
  },
});

export type UsageEvent = RecordOf<typeof usageEvent>;

export const usageGroups = defineEntity({
  name: "usage-groups",
  summary: "The usage events of one metric of one tenant in one month, summed by the values of each dimension.",
  key: "usagegroups:{tenantId}:{metric}:{period}",
  schema: z.looseObject({
    id: z.string(),
    tenantId: segment,
    metric: segment,
    period,
    groups: z.record(z.string(), z.record(z.string(), z.number().meta({ description: `In ${METRIC_UNIT}.` }))).default({})
      .meta({ description: `The amount of each value of each dimension, in ${METRIC_UNIT}.` }),
    createdAt: instant,
    updatedAt: instant.optional(),
  }),
  owner: "tenant",
  retention: { days: 730, after: "updatedAt" },
  frequentUpdates: true,
  naturalKey: true,
  exported: true,
  example: {
    id: "usagegroups:tn_1767225600000_a1b2c3d4e5f6:api_calls:2026-01",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    metric: "api_calls",
    period: "2026-01",
    groups: { endpoint: { "/v1/rooms": 900, "/v1/bookings": 300 } },
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-01T12:00:00.000Z",
  },
});

export type UsageGroups = RecordOf<typeof usageGroups>;

const reason = z.string().trim().min(1).max(500).meta({ description: "Why, for the audit log." });
export const eventVoid = z.strictObject({ reason });
export const eventCorrection = z.strictObject({
  amount: quantity(1e12).meta({ description: `The amount that the event should have had, in ${METRIC_UNIT}.` }),
  reason,
});
