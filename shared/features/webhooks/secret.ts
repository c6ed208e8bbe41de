import { z } from "zod";
import { parseInput } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { keyOf } from "../../kv/define.ts";
import { type Webhook, webhook } from "./entity.ts";

/** Standard Webhooks: the prefix of a secret, followed by base64. */
const PREFIX = "whsec_";
/** Standard Webhooks asks for 24 to 64 bytes. */
const SECRET_BYTES = 32;

const sealedSecrets = z.object({
  current: z.string(),
  previous: z.string().optional(),
  headers: z.record(z.string(), z.string()).optional(),
});
/** What is sealed in `sealedSecret`: the signing secrets, and the values of the additional headers. */
export type SealedSecrets = z.output<typeof sealedSecrets>;

/** What a request is signed and sent with. */
export interface Signing {
  /** The valid secrets, the newest first. Each one adds a signature. */
  readonly secrets: readonly string[];
  /** The additional headers, by lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
}

/** `whsec_` and the base64 of random bytes. */
export function newSecret(): string {
  return `${PREFIX}${btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(SECRET_BYTES))))}`;
}

export async function seal({ platform }: UnitOfWork, id: string, secrets: SealedSecrets): Promise<Webhook["sealedSecret"]> {
  return await platform.secrets.seal(keyOf(webhook, { id }), "sealedSecret", secrets as JsonObject);
}

/** Throws `decryption_failed`, `root_key_unavailable`. */
export async function open({ platform }: UnitOfWork, { id, sealedSecret }: Pick<Webhook, "id" | "sealedSecret">): Promise<SealedSecrets> {
  return parseInput(sealedSecrets, await platform.secrets.open(keyOf(webhook, { id }), "sealedSecret", sealedSecret));
}

/** Why a secret cannot be read: its ciphertext is damaged, or its root key is missing. */
export const UNREADABLE = ["decryption_failed", "root_key_unavailable"] as const;

export function isUnreadable(error: unknown): boolean {
  return UNREADABLE.some((code) => isInnkeepError(error, code));
}

/** Null if the secret cannot be read. */
export async function openIfReadable(work: UnitOfWork, record: Pick<Webhook, "id" | "sealedSecret">): Promise<SealedSecrets | null> {
  try {
    return await open(work, record);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return null;
  }
}

/** What requests of a webhook are signed and sent with at present. Throws `decryption_failed`, `root_key_unavailable`. */
export async function signingOf(work: UnitOfWork, webhook: Webhook): Promise<Signing> {
  const { current, previous, headers = {} } = await open(work, webhook);
  const until = webhook.previousSecretExpiresAt;
  const isValid = previous !== undefined && until !== undefined && work.now() < until;
  return { secrets: isValid ? [current, previous] : [current], headers };
}
