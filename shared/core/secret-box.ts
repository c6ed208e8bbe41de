import { toBase64Url } from "../kernel/base64.ts";
import type { Clock } from "../kernel/clock.ts";
import { InnkeepError } from "../kernel/errors.ts";
import type { JsonValue } from "../kernel/json.ts";
import { equalSecrets } from "../kernel/sha256.ts";
import { aesKey, type Bytes, decrypt, encrypt } from "./aes-gcm.ts";
import { ROOT_KEY_BYTES, type RootKey, type RootKeys, type RootKeySource } from "./root-keys.ts";
import type { Sealed } from "./sealed.ts";

/** How often the keys are read again for a value under an unknown key, such as one that another process wrapped after a rotation. */
const RELOAD_MS = 10_000;

/** The root keys as they are used. */
interface Loaded {
  readonly keys: RootKeys;
  readonly byId: ReadonlyMap<string, CryptoKey>;
  readonly loadedAtMs: number;
}

/**
 * Encrypts single fields of records: AES-256-GCM under a random data key for each value, which a root key wraps. The record's key and
 * the name of the field are authenticated with both, so a value that was moved to another record or field is not decrypted.
 */
export class SecretBox {
  #loaded: Promise<Loaded> | undefined;
  /** The keys of the last read that succeeded. */
  #last: Loaded | undefined;

  constructor(private readonly source: RootKeySource, private readonly clock: Clock) {}

  /** The root keys. Throws `root_key_unavailable`. */
  async rootKeys(): Promise<RootKeys> {
    return (await this.#load()).keys;
  }

  /** Encrypts a value for a field of the record with this key. Throws `root_key_unavailable`. */
  async seal(key: string, field: string, value: JsonValue): Promise<Sealed> {
    const loaded = await this.#load();
    const dataKey = crypto.getRandomValues(new Uint8Array(ROOT_KEY_BYTES));
    const context = contextOf(key, field);
    const ciphertext = await encrypt(await aesKey(dataKey), context, new TextEncoder().encode(JSON.stringify(value)));
    return { ...await wrap(loaded, context, dataKey), ciphertext };
  }

  /** Throws `decryption_failed` if the value is damaged or of another field, and `root_key_unavailable` if its root key is unknown. */
  async open(key: string, field: string, value: Sealed): Promise<JsonValue> {
    const context = contextOf(key, field);
    const dataKey = await this.#unwrap(key, field, value);
    const plain = await decrypt(await aesKey(dataKey), context, value.ciphertext);
    if (!plain) throw decryptionFailed(key, field);
    return JSON.parse(new TextDecoder().decode(plain)) as JsonValue;
  }

  /**
   * The HMAC-SHA-256 of the text under a key that is derived from the current root key for one purpose (HKDF, RFC 5869), in base64url.
   * Throws `root_key_unavailable`.
   */
  async sign(purpose: string, text: string): Promise<string> {
    return await signature((await this.#load()).keys.current, purpose, text);
  }

  /** Whether `sign` made the signature, with the current root key or a previous one. */
  async isSigned(purpose: string, text: string, given: string): Promise<boolean> {
    const { current, previous } = (await this.#load()).keys;
    const valid = await Promise.all(
      [current, ...previous].map(async (key) => await equalSecrets(await signature(key, purpose, text), given)),
    );
    return valid.includes(true);
  }

  /** The value under the current root key. The ciphertext stays as it is. Throws like `open`. */
  async rewrap(key: string, field: string, value: Sealed): Promise<Sealed> {
    const dataKey = await this.#unwrap(key, field, value);
    return { ...await wrap(await this.#load(), contextOf(key, field), dataKey), ciphertext: value.ciphertext };
  }

  async #unwrap(key: string, field: string, value: Sealed): Promise<Bytes> {
    const rootKey = await this.#rootKey(value.keyId);
    if (!rootKey) {
      throw new InnkeepError(
        "root_key_unavailable",
        `The root key ${value.keyId} is needed to decrypt ${field} of ${key}. Set it as INNKEEP_ROOT_KEY_PREVIOUS.`,
      );
    }
    const dataKey = await decrypt(rootKey, contextOf(key, field), value.wrappedKey);
    if (!dataKey) throw decryptionFailed(key, field);
    return dataKey;
  }

  /** A process that lacks a newer key cannot load its keys again, and encrypts nothing, but still decrypts what is under its own. */
  async #rootKey(id: string): Promise<CryptoKey | undefined> {
    const loading = this.#loaded;
    const loaded = await this.#load().catch((error: unknown) => {
      if (this.#last?.byId.has(id)) return this.#last;
      throw error;
    });
    const known = loaded.byId.get(id);
    if (known || this.clock.now() - loaded.loadedAtMs < RELOAD_MS) return known;
    if (loading) this.#forget(loading);
    return (await this.#load()).byId.get(id);
  }

  /** A failed read is repeated by the next call. */
  async #load(): Promise<Loaded> {
    const loading = this.#loaded ??= this.#read();
    const loaded = await loading.catch((error: unknown) => {
      this.#forget(loading);
      throw error;
    });
    if (this.clock.now() - loaded.loadedAtMs < (this.source.maxAgeMs ?? Infinity)) return loaded;
    this.#forget(loading);
    return await (this.#loaded ??= this.#read());
  }

  #forget(loading: Promise<Loaded>): void {
    if (this.#loaded === loading) this.#loaded = undefined;
  }

  async #read(): Promise<Loaded> {
    const keys = await this.source.load();
    const all: readonly RootKey[] = [keys.current, ...keys.previous];
    const byId = new Map(await Promise.all(all.map(async ({ id, bytes }) => [id, await aesKey(bytes)] as const)));
    return this.#last = { keys, byId, loadedAtMs: this.clock.now() };
  }
}

/** What is authenticated with a value. No key contains a line break. */
function contextOf(key: string, field: string): Bytes {
  return new TextEncoder().encode(`${key}\n${field}`);
}

async function wrap({ keys, byId }: Loaded, context: Bytes, dataKey: Bytes): Promise<Pick<Sealed, "keyId" | "wrappedKey">> {
  const keyId = keys.current.id;
  return { keyId, wrappedKey: await encrypt(byId.get(keyId) as CryptoKey, context, dataKey) };
}

async function signature({ bytes }: RootKey, purpose: string, text: string): Promise<string> {
  const encoder = new TextEncoder();
  const root = await crypto.subtle.importKey("raw", bytes, "HKDF", false, ["deriveKey"]);
  const derivation = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: encoder.encode(`innkeep ${purpose}`) };
  const key = await crypto.subtle.deriveKey(derivation, root, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return toBase64Url(new Uint8Array(await crypto.subtle.sign("HMAC", key, encoder.encode(text))));
}

function decryptionFailed(key: string, field: string): InnkeepError {
  return new InnkeepError(
    "decryption_failed",
    `${field} of ${key} cannot be decrypted: it was damaged, or encrypted for another record or field. Set it again.`,
  );
}
