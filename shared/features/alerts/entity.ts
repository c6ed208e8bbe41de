import { z } from "zod";
import { byServer } from "../../core/fields.ts";
import { instant, period, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

/** `below`: usage fell below the threshold. `period_ended`: the month is over. `caller`: by a call. */
export const RESOLUTIONS = ["below", "period_ended", "caller"] as const;

export const alert = defineEntity({
  name: "alert",
  summary: "Usage of a metric reached a percentage of its limit. There is one for each metric, month and threshold.",
  key: "alert:{tenantId}:{id}",
  schema: z.looseObject({
    id: byServer(segment),
    tenantId: byServer(segment),
    metric: byServer(segment),
    period: byServer(period),
    threshold: byServer(z.int().min(1).max(1_000).meta({ description: "The percentage of the limit." })),
    triggered: byServer(z.boolean().meta({ description: "True while the alert is open." })),
    triggeredAt: byServer(instant.meta({ description: "When it was triggered last." })),
    resolvedAt: byServer(instant.optional().meta({ description: "Absent while the alert is open." })),
    resolution: byServer(
      z.enum(RESOLUTIONS).optional().meta({
        description: "Why it is resolved: usage fell `below` the threshold, the `period_ended`, or a `caller` resolved it. " +
          "One that a caller resolved is triggered again only after usage was below the threshold.",
      }),
    ),
    notified: byServer(z.boolean().meta({ description: "Whether the event `usage.alert` was written. It is written once." })),
    openUntil: byServer(instant.optional().meta({ description: "The end of the month, which resolves it. Absent once resolved." })),
  }),
  owner: "tenant",
  retention: { days: 365, after: "resolvedAt" },
  filterable: ["metric", "threshold", "triggered", "period", "openUntil"],
  sortable: ["triggeredAt", "threshold", "openUntil"],
  indexes: [["@tenantId", "triggeredAt"], ["openUntil"]],
  rollup: { groupBy: ["openUntil"] },
  exported: true,
  example: {
    id: "alert_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    metric: "api_calls",
    period: "2026-01",
    threshold: 80,
    triggered: true,
    triggeredAt: "2026-01-20T08:15:00.000Z",
    notified: true,
    openUntil: "2026-02-01T00:00:00.000Z",
  },
});

export type Alert = RecordOf<typeof alert>;
