import { z } from "zod";

const base64Url = z.string().regex(/^[A-Za-z0-9_-]+$/);

/**
 * The stored form of an encrypted field: the value under a random data key, and the data key under the root key `keyId`. Each is
 * base64url of a 96-bit nonce and the output of AES-256-GCM.
 */
export const sealed = z.strictObject({
  keyId: z.string().regex(/^[0-9a-f]{16}$/),
  wrappedKey: base64Url,
  ciphertext: base64Url,
}).meta({ description: "An encrypted value." });

export type Sealed = z.output<typeof sealed>;

/** Whether the schema of a field is `sealed`, possibly optional, nullable, or with a default. */
export function isSealed(schema: z.ZodType): boolean {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodNullable || inner instanceof z.ZodDefault) {
    inner = inner.unwrap() as z.ZodType;
  }
  // Metadata and marks copy the schema, but not its members.
  return inner instanceof z.ZodObject && inner.shape["wrappedKey"] === sealed.shape.wrappedKey;
}
