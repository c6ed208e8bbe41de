import { z } from "zod";
import { byServer, changedInstant, createdInstant, generated } from "../../core/fields.ts";
import { instant, period, quantity, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";
import { METRIC_UNIT } from "../usage/entity.ts";

export const RESERVATION_STATUSES = ["held", "committed", "released"] as const;

/** The longest hold. It is shorter than the time until a month closes, so every reservation ends in time for its month. */
export const MAX_HOLD_SECONDS = 86_400;
const DEFAULT_HOLD_SECONDS = 300;
const MAX_AMOUNT = 1e12;

const amountOf = (what: string) => quantity(MAX_AMOUNT).meta({ description: `${what}, in ${METRIC_UNIT}, with at most 6 decimals.` });

export const reservation = defineEntity({
  name: "reservation",
  summary: "An amount of a metric that is held for a caller until it commits the amount that it used, releases it, or lets it expire.",
  key: "reservation:{tenantId}:{id}",
  schema: z.looseObject({
    id: generated("res", segment),
    tenantId: byServer(segment),
    metric: byServer(segment),
    period: byServer(period.meta({ description: "The month in which the amount counts." })),
    amount: byServer(amountOf("The amount that is held")),
    status: byServer(z.enum(RESERVATION_STATUSES)),
    expiresAt: byServer(instant.meta({ description: "From then on the amount is free again, unless it was committed." })),
    expired: byServer(z.boolean().default(false).meta({ description: "Whether it was released because it expired." })),
    committedAmount: byServer(amountOf("The amount that was used. Absent unless it is committed").optional()),
    endedAt: byServer(instant.optional().meta({ description: "When it was committed or released. Absent while it is held." })),
    createdAt: createdInstant(instant),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  retention: { days: 30, after: "endedAt" },
  filterable: ["metric", "status", "period", "expiresAt"],
  sortable: ["createdAt", "expiresAt", "amount"],
  indexes: [["@tenantId", "createdAt"], ["@tenantId", "status", "expiresAt"], ["status", "expiresAt"]],
  exported: true,
  example: {
    id: "res_1767225600000_a1b2c3d4e5f6",
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    metric: "api_calls",
    period: "2026-01",
    amount: 100,
    status: "held",
    expiresAt: "2026-01-01T00:05:00.000Z",
    expired: false,
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});

export type Reservation = RecordOf<typeof reservation>;

const positive = (what: string) => amountOf(what).refine((amount) => amount > 0, "must be more than 0");
export const reserveInput = z.strictObject({
  amount: positive("The amount to hold if it fits"),
  expiresInSeconds: z.int().min(1).max(MAX_HOLD_SECONDS).default(DEFAULT_HOLD_SECONDS).meta({ description: "How long it is held." }),
});
export const commitInput = z.strictObject({
  amount: amountOf("The amount that was used. Default: the amount that is held").optional(),
});
