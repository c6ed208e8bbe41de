import { z } from "zod";
import { type Route, verb } from "../../core/route.ts";
import { component } from "../../core/schemas.ts";
import { currency, period } from "../../core/values.ts";
import { RevenueService } from "./service.ts";

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
const movements = component(
  "RevenueMovements",
  z.object({
    currency,
    data: z.array(z.object({
      month: period,
      starting: z.number().meta({ description: IN.starting }),
      new: z.number().meta({ description: IN.new }),
      expansion: z.number().meta({ description: IN.expansion }),
      contraction: z.number().meta({ description: IN.contraction }),
      churn: z.number().meta({ description: IN.churn }),
      reactivation: z.number().meta({ description: IN.reactivation }),
      ending: z.number().meta({ description: IN.ending }),
    })).meta({ description: "Every month of the range, also without movements." }),
  }),
  () => ({
    currency: "USD",
    data: [{ month: "2026-01", starting: 1_000, new: 299, expansion: 200, contraction: 0, churn: -99, reactivation: 0, ending: 1_400 }],
  }),
);

export const routes: readonly Route[] = [
  verb("GET /v1/revenue/movements", {
    service: RevenueService,
    operationId: "getRevenueMovements",
    summary: "Get the movements of the monthly recurring revenue",
    description: "Movements of deleted tenants are not contained.",
    scope: "read:revenue",
    query: z.strictObject({
      from: period.optional().meta({ description: "The first month, YYYY-MM. Default: 11 months before `to`." }),
      to: period.optional().meta({ description: "The last month, YYYY-MM. Default: the current month." }),
    }),
    output: movements,
    run: async ({ service, query }) => await service.movements(query),
  }),
];
