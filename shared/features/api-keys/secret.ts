import { randomText } from "../../kernel/ids.ts";
import { hmacSha256Hex } from "../../kernel/sha256.ts";
import type { ENVIRONMENTS } from "./entity.ts";

/** 32 characters have 190 bits. */
const RANDOM_CHARS = 32;
const CHECKSUM_CHARS = 6;
const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SHOWN_CHARS = 6;
const SECRET = new RegExp(`^ik_(?:live|test)_[0-9A-Za-z]{${RANDOM_CHARS + CHECKSUM_CHARS}}$`);
/** Whatever looks like a secret or a part of one, for logs and queries. */
export const SECRET_LIKE = /ik_(?:live|test)_/i;

export interface NewSecret {
  readonly secret: string;
  /** What reads show of it. */
  readonly prefix: string;
  readonly last4: string;
}

/** `ik_live_` or `ik_test_`, 32 random characters, and a checksum by which a scanner recognizes it. */
export async function newSecret(environment: (typeof ENVIRONMENTS)[number]): Promise<NewSecret> {
  const head = `ik_${environment}_`;
  const body = `${head}${await randomText(BASE62, RANDOM_CHARS)}`;
  const secret = `${body}${checksum(body)}`;
  return { secret, prefix: secret.slice(0, head.length + SHOWN_CHARS), last4: secret.slice(-4) };
}

/** Whether a text has the form and the checksum of a secret. A text without them is refused without a look-up. */
export function isSecret(text: string): boolean {
  return SECRET.test(text) && checksum(text.slice(0, -CHECKSUM_CHARS)) === text.slice(-CHECKSUM_CHARS);
}

/** What is stored of a secret. Without the server's key, a stored hash cannot be compared with a guess. */
export async function hashOf(secret: string, serverKey: string): Promise<string> {
  return await hmacSha256Hex(serverKey, secret);
}

/** CRC-32 (ISO 3309, as in zlib) of the ASCII text, in base 62. */
function checksum(text: string): string {
  let crc = 0xffffffff;
  for (let i = 0; i < text.length; i++) {
    crc ^= text.charCodeAt(i);
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  let rest = (crc ^ 0xffffffff) >>> 0;
  let digits = "";
  for (let i = 0; i < CHECKSUM_CHARS; i++) {
    digits = `${BASE62[rest % 62]}${digits}`;
    rest = Math.floor(rest / 62);
  }
  return digits;
}
