import { z } from "zod";
import { byServer, createdInstant } from "../../core/fields.ts";
import { instant, period, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

export const closing = defineEntity({
  name: "closing",
  summary: "A month that is closed: its usage above the limits is billed.",
  key: "closing:{period}",
  schema: z.looseObject({
    period: byServer(period),
    metrics: byServer(z.array(segment).meta({ description: "The metrics whose policy was `overage` when the month closed." })),
    createdAt: createdInstant(instant),
  }),
  owner: "platform",
  filterable: ["period"],
  sortable: ["period", "createdAt"],
  defaultSort: "-period",
  indexes: [["period"], ["createdAt"]],
  example: { period: "2026-01", metrics: ["bookings"], createdAt: "2026-02-04T00:00:05.000Z" },
});

export type Closing = RecordOf<typeof closing>;
