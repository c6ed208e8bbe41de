import { z } from "zod";
import { byServer, createdInstant } from "../../core/fields.ts";
import { instant, segment } from "../../core/values.ts";
import { defineEntity } from "../../kv/define.ts";

export const flagEvaluation = defineEntity({
  name: "flag-evaluation",
  summary: "When a flag was last evaluated. It is created and deleted with the flag.",
  key: "flageval:{flagId}",
  schema: z.looseObject({
    flagId: byServer(segment),
    createdAt: createdInstant(instant),
    lastEvaluatedAt: byServer(instant.optional().meta({ description: "When it was last evaluated by itself, to the hour." })),
    lastDeliveredAt: byServer(
      instant.optional().meta({ description: "When it was last evaluated with all flags of a tenant, to the hour." }),
    ),
  }),
  owner: "platform",
  example: {
    flagId: "ff_1767225600000_a1b2c3d4e5f6",
    createdAt: "2026-01-01T00:00:00.000Z",
    lastEvaluatedAt: "2026-11-01T09:30:00.000Z",
  },
});

export type FlagEvaluation = z.output<typeof flagEvaluation.schema>;
