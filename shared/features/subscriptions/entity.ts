import { z } from "zod";
import { defineEntity } from "../../kv/define.ts";
import type { RecordOf } from "../../kv/define.ts";
import { instant, metadata, segment } from "../../core/values.ts";

export const SUBSCRIPTION_STATUSES = ["trialing", "active", "past_due", "cancelled"] as const;

export const subscription = defineEntity({
  name: "subscription",
  summary: "A tenant's one subscription to a plan.",
  key: "subscription:{tenantId}",
  schema: z.looseObject({
    id: segment,
    tenantId: segment,
    planId: segment,
    status: z.enum(SUBSCRIPTION_STATUSES),
    currentPeriodStart: instant,
    currentPeriodEnd: instant,
    cancelAtPeriodEnd: z.boolean().default(false),
    cancelledAt: instant.optional(),
    paymentMethod: z.enum(["card", "invoice", "wire"]).optional(),
    lastPaymentStatus: z.enum(["paid", "pending", "failed", "refunded"]).optional(),
    metadata: metadata.optional(),
    createdAt: instant,
    updatedAt: instant.optional(),
  }),
  owner: "tenant",
  filterable: ["status", "planId", "cancelAtPeriodEnd"],
  sortable: ["currentPeriodEnd"],
  indexes: [["planId"], ["status", "currentPeriodEnd"]],
  exported: true,
  example: {
    id: "sub_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    planId: "Pro",
    status: "active",
    currentPeriodStart: "2026-01-01T00:00:00.000Z",
    currentPeriodEnd: "2026-02-01T00:00:00.000Z",
    cancelAtPeriodEnd: false,
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Subscription = RecordOf<typeof subscription>;
