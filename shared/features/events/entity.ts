import { z } from "zod";
import { instant, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

export const eventHead = defineEntity({
  name: "event-head",
  summary: "The number of the last event. The commit that numbers events checks and changes it.",
  key: "eventhead:{id}",
  schema: z.looseObject({
    id: segment,
    seq: z.int().min(0),
    keptDays: z.int().min(1).meta({ description: "The days for which events are kept: those of the shortest policy in force." }),
    updatedAt: instant,
  }),
  owner: "platform",
  // A tenant's users poll with it.
  readableByTenants: true,
  frequentUpdates: true,
  example: { id: "current", seq: 1_200, keptDays: 30, updatedAt: "2026-01-01T00:00:00.000Z" },
});

export type EventHead = RecordOf<typeof eventHead>;
