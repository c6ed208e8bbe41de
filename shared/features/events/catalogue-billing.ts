import { z } from "zod";
import { instant, minorUnits, segment } from "../../core/values.ts";
import { alert } from "../alerts/entity.ts";
import { closing } from "../closings/entity.ts";
import { entitlements, grant } from "../entitlements/entity.ts";
import { entitlementsView } from "../entitlements/view.ts";
import { creditNote, invoice, lineItem } from "../invoices/entity.ts";
import { metric } from "../metrics/entity.ts";
import { planMigration } from "../plan-migrations/entity.ts";
import { plan } from "../plans/entity.ts";
import { subscription } from "../subscriptions/entity.ts";
import { usageEvent } from "../usage-events/entity.ts";
import { METRIC_UNIT, usageRecord } from "../usage/entity.ts";
import { eventsOf, type EventType } from "./event-type.ts";

const ENTITLEMENTS = {
  revision: 2,
  active: true,
  features: [{ key: "api", source: "plan" as const }],
  limits: [{ key: "rooms", limit: 500, source: "plan" as const }],
};
const ISSUED = {
  id: "inv_1767225600000_a1b2c3d4e5f6",
  number: "INV-000042",
  dueDate: "2026-01-15T00:00:00.000Z",
  total: 29_900,
  status: "pending",
};

const resolved = entitlementsView.pick({ revision: true, active: true, features: true, limits: true }).optional().meta({
  description: "The tenant's entitlements after the change, if it may have changed them. Keep those with the highest `revision`.",
});
const effectiveAt = instant.optional().meta({
  description: "The instant from which the change applies, if a job or a payment made it: when it was due.",
});
const overdueInvoice = z.looseObject({
  id: segment,
  number: z.string(),
  dueDate: instant,
  total: minorUnits.meta({ description: "What is owed, in the minor unit of the invoice's currency." }),
  status: z.string(),
})
  .optional().meta({ description: "The overdue invoice because of which the change was made." });

/** What the events of tenants and subscriptions have beside the record. */
export const entitled = z.object({ entitlements: resolved }).meta({ examples: [{ entitlements: ENTITLEMENTS }] });
export const due = z.object({ effectiveAt, entitlements: resolved })
  .meta({ examples: [{ effectiveAt: "2026-01-01T00:00:00.000Z", entitlements: ENTITLEMENTS }] });
export const dunned = z.object({ effectiveAt, entitlements: resolved, invoice: overdueInvoice })
  .meta({ examples: [{ effectiveAt: "2026-01-22T00:00:00.000Z", invoice: ISSUED }] });

const dated = z.object({ effectiveAt }).meta({ examples: [{ effectiveAt: "2026-01-01T00:00:00.000Z" }] });
const overage = z.object({
  overage: z.object({ period: z.string().meta({ description: "The month, `YYYY-MM`." }), lineItems: z.array(lineItem) })
    .meta({ description: "What was added to the next invoice." }),
}).meta({
  examples: [{
    overage: {
      period: "2026-01",
      lineItems: [{ description: "Overage api_calls 2026-01", quantity: 1_000, unitAmount: 1, amount: 1_000, kind: "usage" }],
    },
  }],
});
const level = z.object({
  tenantId: segment,
  metric: segment,
  period: z.string().meta({ description: "The month, `YYYY-MM`." }),
  threshold: z.number().meta({ description: "The percentage of the limit that was reached." }),
  current: z.number().meta({ description: `The usage, in ${METRIC_UNIT}.` }),
  limit: z.number().nullable().meta({ description: `In ${METRIC_UNIT}. Null means unlimited.` }),
  percentage: z.number().meta({ description: "The usage as a whole percentage of the limit. It can exceed 100." }),
}).meta({
  examples: [{
    tenantId: alert.example.tenantId,
    metric: alert.example.metric,
    period: alert.example.period,
    threshold: alert.example.threshold,
    current: 412,
    limit: 500,
    percentage: 82,
  }],
});

/** Plans, subscriptions, invoices, usage and entitlements. */
export const billingEvents: readonly EventType[] = [
  ...eventsOf(plan, {
    "plan.created": "A plan was created.",
    "plan.updated": "A plan was changed. A change of its price, limits or features is a new version of it.",
    "plan.deleted": "A plan that nobody used was deleted.",
  }),
  ...eventsOf(planMigration, {
    "plan-migration.created": "A move of subscribers to another plan or version was drafted. Nobody is moved yet.",
    "plan-migration.started": { description: "A plan migration was started, or goes on after a pause.", example: { status: "running" } },
    "plan-migration.paused": { description: "A plan migration was paused.", example: { status: "paused" } },
    "plan-migration.retried": "A plan migration tries those subscribers again that were skipped or failed.",
    "plan-migration.cancelled": {
      description: "A plan migration was ended before it was complete. Subscribers that were moved stay where they are.",
      example: { status: "cancelled" },
    },
    "plan-migration.completed": { description: "A plan migration has handled all its subscribers.", example: { status: "completed" } },
  }),
  ...eventsOf(subscription, {
    "subscription.created": { description: "A tenant has got a subscription.", extra: entitled },
    "subscription.updated": {
      description: "A subscription was changed, for example to another plan, or is to be cancelled at the end of its period.",
      extra: dunned,
    },
    "subscription.migrated": { description: "A plan migration has moved the subscription.", extra: entitled },
    "subscription.renewed": { description: "A new period of the subscription has begun.", extra: due },
    "subscription.trial_ended": { description: "The trial has ended: the subscription is paid from now on, or has ended.", extra: due },
    "subscription.past_due": {
      description: "An invoice was not paid in time.",
      extra: dunned,
      example: { status: "past_due" },
    },
    "subscription.recovered": { description: "The last overdue invoice was paid or voided.", extra: due },
    "subscription.cancelled": { description: "The subscription has ended.", extra: due, example: { status: "cancelled" } },
    "subscription.reactivated": { description: "A cancellation was reversed.", extra: entitled },
    "subscription.overage_billed": { description: "The usage above the limits of a closed month was billed.", extra: overage },
  }),
  ...eventsOf(invoice, {
    "invoice.created": { description: "An invoice was issued.", extra: dated },
    "invoice.overdue": { description: "A reminder of an unpaid invoice is due.", extra: due },
    "invoice.paid": { description: "An invoice was paid.", extra: entitled, example: { status: "paid" } },
    "invoice.failed": { description: "A payment of an invoice has failed.", extra: entitled, example: { status: "failed" } },
    "invoice.voided": { description: "An invoice was voided.", extra: entitled, example: { status: "void" } },
    "invoice.refunded": { description: "The payment of an invoice was refunded.", extra: entitled, example: { status: "refunded" } },
  }),
  ...eventsOf(creditNote, { "credit-note.created": "A credit note for an invoice was issued." }),
  ...eventsOf(metric, {
    "metric.created": "A metric was added to the catalogue.",
    "metric.updated": "A metric was changed.",
    "metric.deleted": "A metric that nothing used was deleted.",
  }),
  ...eventsOf(usageEvent, {
    "usage-event.corrected": {
      description: "The amount of a counted usage event was corrected.",
      example: { status: "corrected", reason: "Counted twice." },
    },
    "usage-event.voided": { description: "A usage event no longer counts.", example: { status: "voided", reason: "A test." } },
  }),
  ...eventsOf(usageRecord, { "usage.corrected": "The usage of a month was set by hand, or its limit was." }),
  ...eventsOf(alert, {
    "usage.alert": { description: "Usage has reached a threshold of its limit.", extra: level },
    "usage.alert.resolved": {
      description: "Usage is below the threshold again, its month is over, or somebody resolved the alert.",
      extra: level,
      example: { triggered: false, resolvedAt: "2026-01-20T00:00:00.000Z", resolution: "below" },
    },
  }),
  ...eventsOf(closing, { "closing.created": "A month was closed. Its usage is final." }),
  ...eventsOf(grant, {
    "grant.created": { description: "A tenant was granted a feature or limit.", extra: entitled },
    "grant.updated": { description: "A grant was changed.", extra: entitled },
    "grant.deleted": { description: "A grant was withdrawn.", extra: entitled },
  }),
  ...eventsOf(entitlements, { "entitlements.updated": { description: "A grant of the tenant has expired.", extra: entitled } }),
];
