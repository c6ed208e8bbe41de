import { z } from "zod";
import { byServer } from "../../core/fields.ts";
import { instant, MAX_MAJOR_UNITS, period, segment } from "../../core/values.ts";
import { defineEntity } from "../../kv/define.ts";

export const MOVEMENT_KINDS = ["new", "expansion", "contraction", "churn", "reactivation"] as const;

export const movement = defineEntity({
  name: "movement",
  summary: "A change of the monthly recurring revenue. All movements of all tenants sum to the present revenue.",
  key: "movement:{tenantId}:{timestamp}:{~nonce}",
  schema: z.looseObject({
    id: z.string(),
    tenantId: byServer(segment),
    timestamp: byServer(instant),
    month: byServer(period),
    kind: byServer(z.enum(MOVEMENT_KINDS)),
    amount: byServer(
      z.number().min(-MAX_MAJOR_UNITS).max(MAX_MAJOR_UNITS).meta({
        description: "In the major unit of the platform's currency. Negative for contraction and churn.",
      }),
    ),
  }),
  owner: "tenant",
  filterable: ["month", "kind"],
  sortable: ["amount"],
  rollup: { groupBy: ["month", "kind"], sum: "amount" },
  exported: true,
  naturalKey: true,
  example: {
    id: "movement:tn_1767225600000_a1b2c3d4e5f6:2026-01-01T00:00:00.000Z:a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    timestamp: "2026-01-01T00:00:00.000Z",
    month: "2026-01",
    kind: "new",
    amount: 299,
  },
});

export type MovementKind = (typeof MOVEMENT_KINDS)[number];
