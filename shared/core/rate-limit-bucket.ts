import { z } from "zod";
import { defineEntity } from "../kv/define.ts";

/** Written by `kv_take` alone. */
export const rateLimitBucket = defineEntity({
  name: "rate-limit-bucket",
  summary: "The tokens that a caller has left. Its key is a digest of the caller. It expires when it must be full again.",
  key: "ratelimit:{~hash}",
  schema: z.looseObject({
    /** When it was last charged, in seconds since the Unix epoch, by the database's clock. */
    at: z.number(),
    /** The tokens before and after the last charge. */
    had: z.number(),
    tokens: z.number(),
    capacity: z.int().min(1),
    /** Seconds in which an empty bucket becomes full. */
    window: z.int().min(1),
    /** What the last charge needed, what it wanted for later calls, and what it got for them. */
    cost: z.int().min(0),
    wanted: z.int().min(0),
    more: z.int().min(0),
  }),
  owner: "platform",
  expires: true,
  frequentUpdates: true,
  example: { at: 1767225600.123456, had: 600, tokens: 569, capacity: 600, window: 60, cost: 1, wanted: 30, more: 29 },
});
