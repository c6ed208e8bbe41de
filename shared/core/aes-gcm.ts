import { fromBase64, toBase64Url } from "../kernel/base64.ts";

const ALGORITHM = "AES-GCM";
/** NIST SP 800-38D §8.2: 96 bits. */
const NONCE_BYTES = 12;

export type Bytes = Uint8Array<ArrayBuffer>;

export async function aesKey(bytes: Bytes): Promise<CryptoKey> {
  return await crypto.subtle.importKey("raw", bytes, ALGORITHM, false, ["encrypt", "decrypt"]);
}

/** Base64url of the nonce and the ciphertext with its tag. `additionalData` is authenticated with the text. */
export async function encrypt(key: CryptoKey, additionalData: Bytes, plain: Bytes): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const ciphertext = new Uint8Array(await crypto.subtle.encrypt({ name: ALGORITHM, iv, additionalData }, key, plain));
  const whole = new Uint8Array(NONCE_BYTES + ciphertext.length);
  whole.set(iv);
  whole.set(ciphertext, NONCE_BYTES);
  return toBase64Url(whole);
}

/** Null if the text is not base64url, or was not encrypted with this key and additional data. */
export async function decrypt(key: CryptoKey, additionalData: Bytes, text: string): Promise<Bytes | null> {
  const whole = fromBase64(text);
  if (!whole || whole.length <= NONCE_BYTES) return null;
  const iv = whole.subarray(0, NONCE_BYTES);
  try {
    return new Uint8Array(await crypto.subtle.decrypt({ name: ALGORITHM, iv, additionalData }, key, whole.subarray(NONCE_BYTES)));
  } catch {
    // Web Crypto reports every mismatch as an OperationError without a reason.
    return null;
  }
}
