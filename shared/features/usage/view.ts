import { z } from "zod";
import { viewOf } from "../../core/schemas.ts";
import { instant } from "../../core/values.ts";
import { usageRecord } from "./entity.ts";

export const percentage = z.int().min(0).max(100).meta({ description: "Of the limit, in whole per cent; 0 without one.", examples: [42] });

/** A usage record as responses show it. */
export const usageView = viewOf(usageRecord, { percentage, resetsAt: instant.meta({ examples: ["2026-02-01T00:00:00.000Z"] }) });
