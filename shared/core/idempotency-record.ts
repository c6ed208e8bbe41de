import { z } from "zod";
import { defineEntity } from "../kv/define.ts";
import { instant, segment } from "./values.ts";

export const idempotencyRecord = defineEntity({
  name: "idempotency-record",
  summary: "What a call with an idempotency key did, kept 24 hours and committed with it.",
  key: "idem:{callerHash}:{keyHash}",
  schema: z.looseObject({
    callerHash: segment,
    keyHash: segment,
    /** The tenant the caller is bound to, if any. */
    tenantId: segment.optional(),
    /** SHA-256 of the canonical request: the same key with another request is refused. */
    requestHash: z.string(),
    /** What was decided, as JSON text, so that a replay has its members in the same order; a long one goes on in further records. */
    result: z.json(),
    /** How many records the result fills. */
    parts: z.int().min(1).optional(),
    /** What only the commit knew, added by it. Absent where nothing changed. */
    receipt: z.object({ values: z.record(z.string(), z.json()), deleted: z.record(z.string(), z.number()) }).optional(),
    createdAt: instant,
  }),
  owner: "tenant",
  expires: true,
  // They hold other records, whatever those keep to themselves.
  secrets: ["result", "receipt"],
  example: { callerHash: "5f2b", keyHash: "9c41", requestHash: "e3b0c442", result: null, createdAt: "2026-01-01T00:00:00.000Z" },
});
