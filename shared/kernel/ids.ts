/**
 * Ids and nonces. nanoid is read with the first write (`loadIds`): under Deno its default build loads
 * `node:crypto`, 23 ms that a cold start shall not pay for.
 */
let random12: (() => string) | undefined;

/** To be awaited before the first id of a call; the unit of work does. */
export async function loadIds(): Promise<void> {
  random12 ??= (await import("nanoid")).customAlphabet("0123456789abcdefghijklmnopqrstuvwxyz", 12);
}

export type IdPrefix = "tn" | "sub" | "inv" | "alert" | "ff" | "webhook" | "key" | "req" | "notif" | "delivery" | "evt";

/** `<prefix>_<unix milliseconds>_<12 random [0-9a-z]>`: sorts by time, random from a cryptographic source. */
export function newId(prefix: IdPrefix, epochMs: number): string {
  return `${prefix}_${epochMs}_${newNonce()}`;
}

/** 12 random characters `[0-9a-z]` (62 bits), the last segment of keys that carry a timestamp. */
export function newNonce(): string {
  if (!random12) throw new Error("loadIds() comes before the first id");
  return random12();
}

export function newRequestId(): string {
  return `req_${crypto.randomUUID().replaceAll("-", "")}`;
}
