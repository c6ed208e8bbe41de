import { z } from "zod";
import { byServer, changedInstant, createdInstant, given, platformOnly } from "../../core/fields.ts";
import { INTERVALS } from "../../core/periods.ts";
import { currency, instant, metadata, minorUnits, period, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { lineItem } from "../invoices/entity.ts";
import { planReference } from "../plans/entity.ts";

export const SUBSCRIPTION_STATUSES = ["trialing", "active", "past_due", "cancelled"] as const;

/** A plan change beyond them adds up the oldest, so that they fit one invoice. */
export const MAX_PENDING_ITEMS = 200;

export const MAX_OVERAGE_MONTHS = 24;

/** The steps of dunning that an unpaid invoice has passed. */
export const DUNNING_STEPS = ["issued", "past_due", "reminded", "suspended"] as const;

const price = z.object({
  price: minorUnits.meta({ description: "The price of one billing interval, in the minor unit of `currency`." }),
  currency,
  interval: z.enum(INTERVALS),
  intervalCount: z.int().min(1).meta({ description: "The number of units in a billing interval." }),
});

export const subscription = defineEntity({
  name: "subscription",
  summary: "The subscription of a tenant to a plan.",
  key: "subscription:{tenantId}",
  schema: z.looseObject({
    id: byServer(segment),
    tenantId: byServer(segment),
    planId: given(segment, planReference),
    planVersion: byServer(z.int().min(1).meta({ description: "The version of the plan that the tenant was sold." })),
    status: platformOnly(z.enum(SUBSCRIPTION_STATUSES)),
    currentPeriodStart: platformOnly(instant),
    currentPeriodEnd: platformOnly(instant),
    anchorDay: byServer(
      z.int().min(1).max(31).optional().meta({
        description: "The day of the month on which billing began. A shorter month ends a period on its last day.",
      }),
    ),
    invoicedUntil: platformOnly(
      instant.optional().meta({
        description: "The end of the last period that is invoiced or free. Set it, and `currentPeriodEnd`, when you import a " +
          "subscription that is billed elsewhere until then.",
      }),
    ),
    freeUntil: byServer(
      instant.optional().meta({
        description: "The end of the last period without an invoice because the tenant was suspended or pending at its start.",
      }),
    ),
    nextBillingAt: byServer(
      instant.optional().meta({
        description: "When the trial or period ends, an invoice is due to be issued, or an unpaid one is due. Absent if nothing is.",
      }),
    ),
    pendingItems: byServer(
      z.array(lineItem).max(MAX_PENDING_ITEMS).default([]).meta({
        description: "Charges and credits of plan changes, and usage above the limits, for the next invoice.",
      }),
    ),
    overageMonths: byServer(
      z.array(period).max(MAX_OVERAGE_MONTHS).optional().meta({
        description: "The last months whose usage above the limits was added to `pendingItems`.",
      }),
    ),
    monthPlan: byServer(
      z.object({ period, planId: segment, planVersion: z.int().min(1).meta({ description: "The version of the plan." }) }).optional().meta({
        description: "The plan with which the month of the last change of plan began. Usage above the limits of the months before is " +
          "billed at its price.",
      }),
    ),
    keptPrice: byServer(
      price.optional().meta({
        description: "The price that the tenant kept when a plan migration moved it. Absent: that of the plan version.",
      }),
    ),
    periodPrice: byServer(
      price.optional().meta({
        description: "The price of the present period, if a plan migration has set another one for the next period.",
      }),
    ),
    unpaidInvoices: byServer(
      z.array(z.looseObject({ invoiceId: segment, dueDate: instant, step: z.enum(DUNNING_STEPS) })).max(1_000).default([]).meta({
        description: "The unpaid invoices of the subscription, each with the last step of its dunning.",
      }),
    ),
    cancelAtPeriodEnd: z.boolean().default(false),
    cancelledAt: byServer(instant.optional()),
    paymentMethod: z.enum(["card", "invoice", "wire"]).optional(),
    lastPaymentStatus: platformOnly(z.enum(["paid", "pending", "failed", "refunded"]).optional()),
    metadata: metadata.optional(),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  filterable: ["status", "planId", "planVersion", "cancelAtPeriodEnd", "nextBillingAt"],
  sortable: ["currentPeriodEnd", "nextBillingAt", "planVersion"],
  indexes: [["planId", "planVersion"], ["status", "currentPeriodEnd"], ["nextBillingAt"]],
  rollup: { groupBy: ["status"] },
  exported: true,
  example: {
    id: "sub_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    planId: "Pro",
    planVersion: 1,
    status: "active",
    currentPeriodStart: "2026-01-01T00:00:00.000Z",
    currentPeriodEnd: "2026-02-01T00:00:00.000Z",
    anchorDay: 1,
    invoicedUntil: "2026-02-01T00:00:00.000Z",
    nextBillingAt: "2026-02-01T00:00:00.000Z",
    pendingItems: [],
    unpaidInvoices: [],
    cancelAtPeriodEnd: false,
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Subscription = RecordOf<typeof subscription>;
export type UnpaidInvoice = Subscription["unpaidInvoices"][number];

/** The body of a preview. */
export const planChoice = z.strictObject({ planId: planReference });
export type PlanChoice = z.input<typeof planChoice>;
