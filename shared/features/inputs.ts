import { z } from "zod";
import { ADMIN_ROLES } from "./admins/entity.ts";
import { plan, planLimits } from "./plans/entity.ts";
import { SUBSCRIPTION_STATUSES } from "./subscriptions/entity.ts";
import { planReference } from "./tenants/input.ts";
import { email, instant, metadata, period, quantity, segment } from "../core/values.ts";

/** Inputs of the smaller resources: strict, so that an unknown field is an error and never ignored. */

const planFields = plan.schema.shape;
/** Every limit, none beside them. */
const strictLimits = z.strictObject(planLimits.shape);

export const planCreate = z.strictObject({
  id: segment.optional(),
  name: planFields.name,
  displayName: planFields.displayName.optional(),
  description: z.string().max(2_000).optional(),
  price: planFields.price,
  currency: planFields.currency,
  interval: planFields.interval,
  limits: strictLimits,
  features: z.array(z.string().max(100)).max(200).optional(),
  trialDays: z.int().min(0).max(730).optional(),
  active: z.boolean().optional(),
  metadata: metadata.optional(),
});
export type PlanCreate = z.input<typeof planCreate>;

export const planUpdate = z.strictObject({
  name: planFields.name.optional(),
  displayName: planFields.displayName.optional(),
  description: z.string().max(2_000).optional(),
  price: planFields.price.optional(),
  currency: planFields.currency.optional(),
  interval: planFields.interval.optional(),
  limits: strictLimits.partial().optional(),
  features: z.array(z.string().max(100)).max(200).optional(),
  trialDays: z.int().min(0).max(730).nullable().optional(),
  active: z.boolean().optional(),
  metadata: z.record(z.string(), z.json()).nullable().optional(),
});
export type PlanUpdate = z.input<typeof planUpdate>;

export const subscriptionUpsert = z.strictObject({
  planId: planReference.optional(),
  status: z.enum(SUBSCRIPTION_STATUSES).optional(),
  currentPeriodStart: instant.optional(),
  currentPeriodEnd: instant.optional(),
  cancelAtPeriodEnd: z.boolean().optional(),
  paymentMethod: z.enum(["card", "invoice", "wire"]).nullable().optional(),
  lastPaymentStatus: z.enum(["paid", "pending", "failed", "refunded"]).nullable().optional(),
  metadata: z.record(z.string(), z.json()).nullable().optional(),
});
export type SubscriptionUpsert = z.input<typeof subscriptionUpsert>;

const usageLimit = quantity(1e15).nullable().optional().meta({
  description: "At most 6 decimals; null is unlimited; kept when left out. For platform admins.",
});
export const usagePut = z.strictObject({ value: quantity(1e15), limit: usageLimit, period: period.optional() });
/** A counter only grows; a put sets it back. */
export const usageIncrement = z.strictObject({ amount: quantity(1e12).default(1), limit: usageLimit, period: period.optional() });

export const adminCreate = z.strictObject({
  userId: segment,
  email,
  name: z.string().trim().min(1).max(200),
  role: z.enum(ADMIN_ROLES),
  permissions: z.array(z.string().max(100)).max(100).optional(),
  enabled: z.boolean().optional(),
});
export type AdminCreate = z.input<typeof adminCreate>;

export const adminUpdate = adminCreate.omit({ userId: true }).partial();
export type AdminUpdate = z.input<typeof adminUpdate>;
