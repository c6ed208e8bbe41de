import { defineEntity } from "../kv/define.ts";
import { z } from "zod";
import { sealed } from "./sealed.ts";
import { instant, segment } from "./values.ts";

/** So long a key encrypts new entries. Then its person gets a new one, so that it can be deleted after the entries. */
export const KEY_USE_DAYS = 30;
/** The declared retention of audit entries, the use, and a day. Retention makes it longer with that of audit entries. */
const KEPT_DAYS = 730 + KEY_USE_DAYS + 1;

export const personalKey = defineEntity({
  name: "personal-key",
  summary: "A key of one person, with which audit entries hold the person's data. Its deletion erases that data.",
  key: "personalkey:{id}",
  schema: z.looseObject({
    id: segment,
    person: z.string().max(1_100).meta({
      description:
        "`user:` and the user's id; without one `email:` and the SHA-256 of the address, or `record:` and the record. Of a request " +
        "without a caller: `record:address:` and the SHA-256 of its IP address.",
    }),
    emailHash: z.string().regex(/^[0-9a-f]{64}$/).optional().meta({ description: "SHA-256 of the lower-case email address." }),
    secret: sealed,
    createdAt: instant,
  }),
  owner: "platform",
  retention: { days: KEPT_DAYS, after: "createdAt" },
  filterable: ["person", "emailHash"],
  sortable: ["createdAt"],
  indexes: [["person", "createdAt"], ["emailHash", "createdAt"]],
  encrypted: ["secret"],
  example: {
    id: "a1b2c3d4e5f6a1b2c3d4e5",
    person: "user:5f0c3a52-6c43-4b3a-9d0a-4a1f2f0a7b11",
    emailHash: "a".repeat(64),
    secret: { keyId: "3f1a9c0b7d2e4f68", wrappedKey: "bm9uY2Uga2V5", ciphertext: "bm9uY2UgdGV4dA" },
    createdAt: "2026-01-01T00:00:00.000Z",
  },
});
