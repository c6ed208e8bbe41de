import { InnkeepError } from "../kernel/errors.ts";
import { sha256Hex } from "../kernel/sha256.ts";
import { toBase64Url } from "../kernel/base64.ts";

export const ROOT_KEY_BYTES = 32;
const ID_CHARS = 16;
const ID_PREFIX = "innkeep root key:";

/** A key that wraps the data keys of encrypted fields. */
export interface RootKey {
  /** Computed from the key, so another key always has another id. */
  readonly id: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** `current` wraps new data keys; `previous` only unwraps those that were wrapped before a rotation. */
export interface RootKeys {
  readonly current: RootKey;
  readonly previous: readonly RootKey[];
}

/** The setting of the root keys. */
export type RootKeyConfig =
  | {
    readonly provider: "environment";
    readonly current: Uint8Array<ArrayBuffer>;
    /** The keys before it, until no record is under them. */
    readonly previous: readonly Uint8Array<ArrayBuffer>[];
  }
  | { readonly provider: "vault" };

/** Where the root keys are read from: the environment, Supabase Vault, or another key store. */
export interface RootKeySource {
  /** Throws `root_key_unavailable` if they cannot be read, and `invalid_configuration` if there are none. */
  load(): Promise<RootKeys>;
  /** After this time, the keys are read again before their next use. If omitted, they do not change while the program runs. */
  readonly maxAgeMs?: number;
}

/** The source of keys that are known. */
export function knownRootKeys(current: Uint8Array<ArrayBuffer>, previous: readonly Uint8Array<ArrayBuffer>[] = []): RootKeySource {
  let keys: Promise<RootKeys> | undefined;
  return { load: () => keys ??= rootKeysOf(current, previous) };
}

/** Without root keys, nothing is encrypted or decrypted. */
export const NO_ROOT_KEYS: RootKeySource = {
  load: () =>
    Promise.reject(
      new InnkeepError("root_key_unavailable", "The platform has no root key, so nothing can be encrypted. Set INNKEEP_ROOT_KEY."),
    ),
};

export async function rootKeysOf(
  current: Uint8Array<ArrayBuffer>,
  previous: readonly Uint8Array<ArrayBuffer>[] = [],
): Promise<RootKeys> {
  const [first, ...rest] = await Promise.all([current, ...previous].map(rootKeyOf));
  if (!first) throw new Error("There is no current root key");
  return { current: first, previous: rest.filter(({ id }) => id !== first.id) };
}

async function rootKeyOf(bytes: Uint8Array<ArrayBuffer>): Promise<RootKey> {
  if (bytes.length !== ROOT_KEY_BYTES) throw new Error(`A root key has ${ROOT_KEY_BYTES} bytes, not ${bytes.length}`);
  return { id: (await sha256Hex(`${ID_PREFIX}${toBase64Url(bytes)}`)).slice(0, ID_CHARS), bytes };
}
