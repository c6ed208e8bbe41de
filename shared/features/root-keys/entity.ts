import { z } from "zod";
import { byServer, createdInstant } from "../../core/fields.ts";
import { instant } from "../../core/values.ts";
import { defineEntity } from "../../kv/define.ts";

export const rootKey = defineEntity({
  name: "root-key",
  summary: "A root key that encrypted fields, or did so. It contains nothing of the key but its id.",
  key: "rootkey:{id}",
  schema: z.looseObject({
    id: byServer(z.string().regex(/^[0-9a-f]{16}$/).meta({ description: "Computed from the key." })),
    createdAt: createdInstant(instant),
    records: byServer(
      z.int().min(0).default(0).meta({ description: "The number of records with a field under this key, when the job last counted them." }),
    ),
    countedAt: byServer(instant.optional().meta({ description: "When the job last counted them." })),
    unusedSince: byServer(
      instant.optional().meta({ description: "Since when no record is under this key. The program then starts without it." }),
    ),
    lostSince: byServer(
      instant.optional().meta({
        description: "When the job found records under this key, although its record had been deleted. The program starts without it.",
      }),
    ),
  }),
  owner: "platform",
  example: {
    id: "3f1a9c0b7d2e4f68",
    createdAt: "2026-01-01T00:00:00.000Z",
    records: 120,
    countedAt: "2026-11-01T04:00:00.000Z",
  },
});

export type RootKeyRecord = z.output<typeof rootKey.schema>;
