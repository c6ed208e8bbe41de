import { z } from "zod";
import { defineEntity } from "../kv/define.ts";
import { instant, segment } from "./values.ts";

export const idempotencyRecord = defineEntity({
  name: "idempotency-record",
  summary: "The result of a call with an idempotency key, kept for 24 hours and committed with the change.",
  key: "idem:{callerHash}:{keyHash}",
  schema: z.looseObject({
    callerHash: segment,
    keyHash: segment,
    /** The tenant the caller is bound to, if any. */
    tenantId: segment.optional(),
    /** SHA-256 of the key and the canonical request (RFC 8785). The same key with another request is refused. */
    requestHash: z.string(),
    /** The result as JSON text, so that a replay has the same member order. A long result continues in further records. */
    result: z.json(),
    /** The number of records that hold the result. */
    parts: z.int().min(1).optional(),
    /** The tenant that the result belongs to, if a platform caller made the call. All parts but this one are deleted with it. */
    resultOf: segment.optional(),
    /** The results of increments and deletions, added by the database in the commit. Absent if nothing changed. */
    receipt: z.object({ values: z.record(z.string(), z.json()), deleted: z.record(z.string(), z.number()) }).optional(),
    createdAt: instant,
  }),
  owner: "tenant",
  expires: true,
  // The results contain other records, including their secrets.
  secrets: ["result", "receipt"],
  example: { callerHash: "5f2b", keyHash: "9c41", requestHash: "e3b0c442", result: null, createdAt: "2026-01-01T00:00:00.000Z" },
});
