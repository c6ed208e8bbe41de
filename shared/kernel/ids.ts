import { customAlphabet } from "nanoid";

const random12 = customAlphabet("0123456789abcdefghijklmnopqrstuvwxyz", 12);

export type IdPrefix = "tn" | "sub" | "inv" | "alert" | "ff" | "webhook" | "key" | "req" | "notif" | "delivery" | "evt";

/** `<prefix>_<unix milliseconds>_<12 random [0-9a-z]>`: sorts by time, random from a cryptographic source. */
export function newId(prefix: IdPrefix, epochMs: number): string {
  return `${prefix}_${epochMs}_${random12()}`;
}

/** 12 random characters `[0-9a-z]` (62 bits), the last segment of keys that carry a timestamp. */
export function newNonce(): string {
  return random12();
}

export function newRequestId(): string {
  return `req_${random12()}${random12()}`;
}
