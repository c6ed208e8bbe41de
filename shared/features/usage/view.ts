import { z } from "zod";
import { viewOf } from "../../core/schemas.ts";
import { instant } from "../../core/values.ts";
import { usageRecord } from "./entity.ts";

/** A usage record as responses show it. */
export const usageView = viewOf(usageRecord, { percentage: z.int().min(0).max(100), resetsAt: instant });
