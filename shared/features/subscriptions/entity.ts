import { z } from "zod";
import { byServer, changedInstant, createdInstant, given, platformOnly } from "../../core/fields.ts";
import { instant, metadata, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { planReference } from "../plans/entity.ts";

export const SUBSCRIPTION_STATUSES = ["trialing", "active", "past_due", "cancelled"] as const;

export const subscription = defineEntity({
  name: "subscription",
  summary: "The subscription of a tenant to a plan.",
  key: "subscription:{tenantId}",
  schema: z.looseObject({
    id: byServer(segment),
    tenantId: byServer(segment),
    planId: given(segment, planReference),
    status: platformOnly(z.enum(SUBSCRIPTION_STATUSES)),
    currentPeriodStart: platformOnly(instant),
    currentPeriodEnd: platformOnly(instant),
    cancelAtPeriodEnd: z.boolean().default(false),
    cancelledAt: byServer(instant.optional()),
    paymentMethod: z.enum(["card", "invoice", "wire"]).optional(),
    lastPaymentStatus: platformOnly(z.enum(["paid", "pending", "failed", "refunded"]).optional()),
    metadata: metadata.optional(),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
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
