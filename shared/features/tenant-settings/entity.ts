import { z } from "zod";
import { byServer, changedInstant, createdInstant } from "../../core/fields.ts";
import { instant, metadata, segment } from "../../core/values.ts";
import { defineEntity, type RecordOf } from "../../kv/define.ts";

export const privateMetadata = defineEntity({
  name: "private-metadata",
  summary: "What the platform notes of a tenant. No caller of the tenant sees it, nor its changes.",
  key: "private:{tenantId}",
  schema: z.looseObject({
    tenantId: byServer(segment),
    values: metadata.meta({ description: "At most 50 names, each with a value of at most 500 characters." }),
    createdAt: createdInstant(instant.optional()),
    updatedAt: changedInstant(instant.optional()),
  }),
  owner: "tenant",
  example: {
    tenantId: "tn_1767225600000_a1b2c3d4e5f6",
    values: { accountManager: "Ada Auer", churnRisk: 0.2 },
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-02T00:00:00.000Z",
  },
});

export type PrivateMetadata = RecordOf<typeof privateMetadata>;
