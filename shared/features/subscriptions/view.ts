import { z } from "zod";
import { component } from "../../core/schemas.ts";
import { instant } from "../../core/values.ts";
import { lineItem } from "../invoices/entity.ts";
import { METRIC_UNIT } from "../usage/entity.ts";
import type { ChangePreview } from "./preview.ts";

const MINOR = "in the minor unit of the platform's currency";
const PERIOD = { periodStart: "2026-01-11T00:00:00.000Z", periodEnd: "2026-02-01T00:00:00.000Z" };
const ITEMS = [
  {
    description: "Pro, not used from 2026-01-11 to 2026-02-01",
    quantity: 1,
    unitAmount: -20255,
    amount: -20255,
    kind: "proration",
    ...PERIOD,
  },
  { description: "Basic, from 2026-01-11 to 2026-02-01", quantity: 1, unitAmount: 6706, amount: 6706, kind: "proration", ...PERIOD },
];

const EXAMPLE = {
  planId: "Basic",
  planVersion: 1,
  effectiveAt: "2026-01-11T00:00:00.000Z",
  startsPeriod: false,
  pendingItems: ITEMS,
  nextInvoice: {
    date: "2026-02-01T00:00:00.000Z",
    lineItems: [{
      description: "Basic, 2026-02-01 to 2026-03-01",
      quantity: 1,
      unitAmount: 9900,
      amount: 9900,
      kind: "plan",
      periodStart: "2026-02-01T00:00:00.000Z",
      periodEnd: "2026-03-01T00:00:00.000Z",
    }, ...ITEMS],
    total: 0,
  },
  mrr: { before: 299, after: 99 },
  entitlementsLost: ["api", "channel-manager"],
  limitsLowered: [{ metric: "rooms", from: 500, to: 60 }],
  quotasExceeded: [{ metric: "rooms", current: 75, limit: 60 }],
  version: "42",
};

const metric = z.string().meta({ description: "The metric, or another limit of the plan." });
const limit = z.number().meta({ description: `In ${METRIC_UNIT}.` });

const mrr = z.number().meta({ description: "The tenant's monthly recurring revenue, in the major unit of the platform's currency." });

const shape = {
  planId: z.string(),
  planVersion: z.int().meta({ description: "The version of the plan." }),
  effectiveAt: instant.meta({ description: "When limits and features change." }),
  startsPeriod: z.boolean().meta({ description: "Whether a new billing period begins with the change." }),
  pendingItems: z.array(lineItem).meta({ description: `The charges and credits of the change, ${MINOR}. The next invoice contains them.` }),
  nextInvoice: z.object({
    date: instant,
    lineItems: z.array(lineItem),
    total: z.int().meta({ description: `Before tax, ${MINOR}. At least 0: credits that exceed the charges stay pending.` }),
  }).nullable().meta({ description: "The next invoice after the change, if nothing else changes before it. Null if there is none." }),
  mrr: z.object({ before: mrr, after: mrr }),
  entitlementsLost: z.array(z.string()).meta({ description: "The features that the tenant would no longer have." }),
  limitsLowered: z.array(z.object({ metric, from: limit.nullable().meta({ description: "Null means unlimited." }), to: limit })),
  quotasExceeded: z.array(
    z.object({ metric, current: z.number().meta({ description: `The present usage, in ${METRIC_UNIT}.` }), limit }),
  ).meta({
    description: "The limits below what the tenant already uses. Usage is kept; nothing can be added until it is below the limit.",
  }),
  version: z.string().meta({
    description:
      "The subscription's version, as in the ETag. Send it as `If-Match` with the change to make sure that nothing else changed.",
  }),
} satisfies { readonly [K in keyof ChangePreview]: z.ZodType };

export const changePreview = component("PlanChangePreview", z.object(shape), () => EXAMPLE);
