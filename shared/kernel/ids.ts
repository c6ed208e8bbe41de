/**
 * Ids and nonces. nanoid is loaded before the first write and not at startup: under Deno its default build loads `node:crypto`,
 * which takes 23 ms.
 */
let random12: (() => string) | undefined;

/** Loads nanoid. The unit of work awaits it before a call makes ids. */
export async function loadIds(): Promise<void> {
  random12 ??= (await import("nanoid")).customAlphabet("0123456789abcdefghijklmnopqrstuvwxyz", 12);
}

export type IdPrefix =
  | "tn"
  | "sub"
  | "inv"
  | "cn"
  | "alert"
  | "ff"
  | "webhook"
  | "key"
  | "req"
  | "notif"
  | "email"
  | "delivery"
  | "evt"
  | "grant"
  | "res"
  | "pm"
  | "replay"
  | "sink"
  | "file"
  | "hold"
  | "cert"
  | "export"
  | "erasure";

/** `<prefix>_<unix milliseconds>_<nonce>`: sorts by time. Throws if `loadIds` has not been awaited. */
export function newId(prefix: IdPrefix, epochMs: number): string {
  return `${prefix}_${epochMs}_${newNonce()}`;
}

/** 12 cryptographically random characters `[0-9a-z]` (62 bits). The last segment of keys that contain a timestamp. */
export function newNonce(): string {
  if (!random12) throw new Error("Await loadIds() before you make an id");
  return random12();
}

/** A cryptographically random text of the characters of an alphabet. */
export async function randomText(alphabet: string, length: number): Promise<string> {
  return (await import("nanoid")).customAlphabet(alphabet, length)();
}

/** `req_` and a random UUID (RFC 9562, version 4) without hyphens. */
export function newRequestId(): string {
  return `req_${crypto.randomUUID().replaceAll("-", "")}`;
}
