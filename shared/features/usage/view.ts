import { z } from "zod";
import { viewOf } from "../../core/schemas.ts";
import { instant } from "../../core/values.ts";
import { METRIC_KINDS, METRIC_POLICIES } from "../metrics/entity.ts";
import { usageRecord } from "./entity.ts";

export const percentage = z.int().min(0).max(100).meta({
  description: "Percentage of the limit as an integer; 0 if there is no limit.",
  examples: [42],
});

export const overLimit = z.boolean().meta({ description: "Whether the limit is reached or exceeded.", examples: [false] });

/** A usage record as responses show it. */
export const usageView = viewOf(usageRecord, {
  unit: z.string().meta({ description: "The unit of the metric.", examples: ["calls"] }),
  kind: z.enum(METRIC_KINDS).meta({ examples: ["counter"] }),
  policy: z.enum(METRIC_POLICIES).meta({ description: "What the metric does above the limit.", examples: ["hard"] }),
  percentage,
  overLimit,
  resetsAt: instant.nullable().meta({
    description: "The first instant of the next period. Null for a gauge, which carries over.",
    examples: ["2026-02-01T00:00:00.000Z"],
  }),
});
