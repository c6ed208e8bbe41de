import { z } from "zod";
import { period } from "../../core/values.ts";

/** Descriptions of amounts. */
const IN = {
  starting: "The monthly recurring revenue at the start of the month, in the major unit of `currency`, as the other amounts.",
  new: "Tenants with their first revenue.",
  expansion: "Higher revenue of tenants that had some.",
  contraction: "Lower revenue of tenants that keep some. Negative.",
  churn: "Tenants whose revenue ended, also by a suspension. Negative.",
  reactivation: "Tenants that have revenue again.",
  ending: "The monthly recurring revenue at the end of the month: the sum of the others.",
};

/** The movements of one month. */
export const monthOfRevenue = z.object({
  month: period,
  starting: z.number().meta({ description: IN.starting }),
  new: z.number().meta({ description: IN.new }),
  expansion: z.number().meta({ description: IN.expansion }),
  contraction: z.number().meta({ description: IN.contraction }),
  churn: z.number().meta({ description: IN.churn }),
  reactivation: z.number().meta({ description: IN.reactivation }),
  ending: z.number().meta({ description: IN.ending }),
});
