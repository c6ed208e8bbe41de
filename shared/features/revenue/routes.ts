import { z } from "zod";
import { type Route, verb } from "../../core/route.ts";
import { component } from "../../core/schemas.ts";
import { currency, period } from "../../core/values.ts";
import { RevenueService } from "./service.ts";
import { monthOfRevenue } from "./view.ts";

const movements = component(
  "RevenueMovements",
  z.object({
    currency,
    data: z.array(monthOfRevenue).meta({ description: "Every month of the range, also without movements." }),
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
