import { z } from "zod";
import { byServer, createdInstant, generated } from "../../core/fields.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
export const RECEIPT_STATUSES = ["waiting", "acknowledged", "failed", "not_sent"] as const;

const receipt = z.object({
  webhookId: segment,
  tenantId: segment.optional().meta({ description: "The tenant of the webhook; absent for a webhook of the platform." }),
  eventId: segment,
  status: z.enum(RECEIPT_STATUSES).meta({
    description: "`acknowledged`: the webhook answered with success. `failed`: no attempt is left; replay the delivery. `not_sent`: the " +
      "webhook does not subscribe to `subject.erased`, or is disabled.",
  }),
  acknowledgedAt: instant.optional(),
});
export type Receipt = z.output<typeof receipt>;

export const erasure = defineEntity({
  name: "erasure",
  summary: "The erasure of a person, and which webhooks have acknowledged it. It names the person by pseudonyms only.",
  key: "erasure:{id}",
  schema: z.looseObject({
    id: generated("erasure", segment),
    userId: byServer(z.string().max(128).optional()),
    emailHashes: byServer(
      z.array(sha256).default([]).meta({
        description: "Of each email address the SHA-256 of `innkeep email:` and the address in lower case, in hexadecimal.",
      }),
    ),
    keys: byServer(
      z.int().min(0).meta({ description: "The number of keys that were deleted. 0: the audit log held no data of the person." }),
    ),
    events: byServer(
      z.array(z.object({ id: segment, tenantId: segment.optional() })).meta({
        description: "The events `subject.erased`: one for the platform, and one for each tenant with records that name the person.",
      }),
    ),
    isComplete: byServer(
      z.boolean().meta({ description: "False if more tenants may have records that name the person than have got an event." }),
    ),
    status: byServer(
      z.enum(["waiting", "acknowledged", "unacknowledged"]).meta({
        description:
          "`acknowledged`: all webhooks that were sent the event have acknowledged it. `unacknowledged`: not all of them in 28 days.",
      }),
    ),
    receipts: byServer(z.array(receipt).default([]).meta({ description: "By webhook. Kept when the status is no longer `waiting`." })),
    requestedBy: byServer(z.string()),
    /** When the job looks at the deliveries next. */
    checkAt: byServer(instant.optional()),
    createdAt: createdInstant(instant),
    closedAt: byServer(instant.optional()),
  }),
  owner: "platform",
  userIds: ["userId", "requestedBy"],
  retention: { days: 2_190, after: "createdAt" },
  filterable: ["status", "userId", "checkAt"],
  sortable: ["createdAt", "checkAt"],
  defaultSort: "-createdAt",
  indexes: [["createdAt"], ["status", "createdAt"], ["checkAt"]],
  example: {
    id: "erasure_1767225600000_a1b2c3d4e5f6",
    userId: "5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11",
    keys: 3,
    events: [{ id: "evt_1767225600000_a1b2c3d4e5f6" }],
    isComplete: true,
    status: "acknowledged",
    receipts: [{
      webhookId: "webhook_1767225600000_a1b2c3d4e5f6",
      eventId: "evt_1767225600000_a1b2c3d4e5f6",
      status: "acknowledged",
      acknowledgedAt: "2026-01-01T00:00:01.084Z",
    }],
    requestedBy: "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
    createdAt: "2026-01-01T00:00:00.000Z",
    closedAt: "2026-01-01T01:00:00.000Z",
  },
});

export type Erasure = RecordOf<typeof erasure>;
