import { ROOT_KEY_BYTES, rootKeysOf, type RootKeySource } from "../core/root-keys.ts";
import { fromBase64 } from "../kernel/base64.ts";
import { InnkeepError, isOutage } from "../kernel/errors.ts";

/** How long a process goes on with a key after another one was stored. */
const MAX_AGE_MS = 5 * 60_000;

/**
 * The root keys in Supabase Vault, in the secrets `innkeep_root_key` and `innkeep_root_key_previous`. `read` returns both, and throws
 * `store_unavailable` while the database is not available.
 */
export function vaultRootKeys(read: () => Promise<unknown>): RootKeySource {
  return {
    maxAgeMs: MAX_AGE_MS,
    load: async () => {
      const { current, previous } = await secretsOf(read);
      if (typeof current !== "string") throw unavailable("Vault has no secret innkeep_root_key. Store one, as docs/security.md describes.");
      const before = typeof previous === "string" ? previous.split(",") : [];
      return await rootKeysOf(
        bytesOf(current, "innkeep_root_key"),
        before.filter((text) => text.trim() !== "").map((text) => bytesOf(text, "innkeep_root_key_previous")),
      );
    },
  };
}

async function secretsOf(read: () => Promise<unknown>): Promise<{ readonly current?: unknown; readonly previous?: unknown }> {
  try {
    return await read() as { readonly current?: unknown; readonly previous?: unknown };
  } catch (error) {
    if (isOutage(error)) throw error;
    throw unavailable(
      "The root keys cannot be read from Vault. Check that Vault is enabled, and run select kv.install_root_keys().",
      error,
    );
  }
}

function bytesOf(text: string, secret: string): Uint8Array<ArrayBuffer> {
  const bytes = fromBase64(text.trim());
  if (bytes?.length === ROOT_KEY_BYTES) return bytes;
  throw unavailable(`The Vault secret ${secret} must be ${ROOT_KEY_BYTES} bytes in base64, such as the output of openssl rand -base64 32.`);
}

function unavailable(detail: string, cause?: unknown): InnkeepError {
  return new InnkeepError("root_key_unavailable", detail, [], {}, cause === undefined ? {} : { cause });
}
