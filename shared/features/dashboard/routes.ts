import { z } from "zod";
import { integer } from "../../core/list-query.ts";
import { type Route, verb } from "../../core/route.ts";
import { component } from "../../core/schemas.ts";
import { currency, day, instant } from "../../core/values.ts";
import { monthOfRevenue } from "../revenue/view.ts";
import { TENANT_STATUSES } from "../tenants/entity.ts";
import { COUNTED_UP_TO, DashboardService, DEFAULT_DAYS, MAX_DAYS } from "./service.ts";

const tally = {
  tenants: z.int().meta({ description: "Number of tenants." }),
  mrr: z.number().meta({ description: "Monthly revenue of the active and trial ones, in the major unit of `currency`." }),
};
const dashboard = component(
  "Dashboard",
  z.object({
    asOf: instant.meta({ description: "When the numbers were read." }),
    currency,
    tenants: z.object({
      ...tally,
      byStatus: z.record(z.enum(TENANT_STATUSES), z.object(tally)),
      byPlan: z.array(z.object({ plan: z.string(), ...tally })).meta({ description: "Plans with tenants, those with the most first." }),
    }),
    revenue: z.object({
      movements: z.array(monthOfRevenue).meta({
        description: "The last 12 months, also without movements. `ending` of the last is `mrr`.",
      }),
    }),
    signUps: z.object({
      tenants: z.int().meta({ description: "Number of tenants created on all these days." }),
      days: z.array(z.object({
        day,
        tenants: z.int().meta({ description: "Number of tenants created on the day in UTC, also those that were deleted since." }),
      })).meta({ description: "Every day up to today, also without sign-ups." }),
    }),
    nearLimits: z.object({
      fromPercent: z.int().meta({ description: "The percentage from which a tenant counts as near a limit." }),
      tenants: z.int().meta({ description: `Number of tenants with a metric at or above it. ${COUNTED_UP_TO} means this many or more.` }),
      highest: z.array(z.object({
        id: z.string(),
        name: z.string(),
        plan: z.string(),
        usagePercent: z.number().meta({ description: "The highest percentage of the current month's metrics." }),
      })).meta({ description: "The 10 with the highest percentage." }),
    }),
    openAlerts: z.int().meta({ description: "Number of open usage alerts of all tenants." }),
    pastDueSubscriptions: z.int().meta({ description: "Number of subscriptions with an overdue invoice." }),
  }),
  () => ({
    asOf: "2026-01-31T12:00:00.000Z",
    currency: "USD",
    tenants: {
      tenants: 2,
      mrr: 299,
      byStatus: {
        pending: { tenants: 0, mrr: 0 },
        trial: { tenants: 0, mrr: 0 },
        active: { tenants: 1, mrr: 299 },
        suspended: { tenants: 1, mrr: 0 },
        cancelled: { tenants: 0, mrr: 0 },
      },
      byPlan: [{ plan: "Pro", tenants: 2, mrr: 299 }],
    },
    revenue: {
      movements: [{ month: "2026-01", starting: 299, new: 299, expansion: 0, contraction: 0, churn: -299, reactivation: 0, ending: 299 }],
    },
    signUps: { tenants: 1, days: [{ day: "2026-01-30", tenants: 1 }, { day: "2026-01-31", tenants: 0 }] },
    nearLimits: {
      fromPercent: 80,
      tenants: 1,
      highest: [{ id: "tn_1767225600000_a1b2c3d4e5f6", name: "Hotel Aurora", plan: "Pro", usagePercent: 97 }],
    },
    openAlerts: 1,
    pastDueSubscriptions: 0,
  }),
);

export const routes: readonly Route[] = [
  verb("GET /v1/dashboard", {
    service: DashboardService,
    operationId: "getDashboard",
    summary: "Get the numbers of the platform's first page",
    description: "All numbers are from rollups and indexes, so the cost hardly grows with the number of tenants.",
    scope: "read:dashboard",
    query: z.strictObject({
      days: integer(1, MAX_DAYS).optional().meta({
        description: `The number of days of sign-ups, at most ${MAX_DAYS}. Default: ${DEFAULT_DAYS}.`,
      }),
    }),
    output: dashboard,
    run: async ({ service, query }) => await service.get(query),
  }),
];
