import { InnkeepError } from "../kernel/errors.ts";
import type { JsonValue } from "../kernel/json.ts";

/**
 * Opaque cursors: base64url of `[fingerprint, ...position]`. The fingerprint ties a cursor to the filter
 * and sort it was made for; a cursor holds no state on the server, so it survives restarts.
 */
export function encodeCursor(fingerprint: string, position: readonly JsonValue[]): string {
  const bytes = new TextEncoder().encode(JSON.stringify([fingerprint, ...position]));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The position in a cursor. Throws `invalid_cursor` when it is damaged or of another query. */
export function decodeCursor(fingerprint: string, cursor: string, length: number): readonly JsonValue[] {
  const invalid = (why: string) =>
    new InnkeepError("invalid_cursor", `the cursor ${why}`, [{ path: "cursor", message: why, code: "invalid_cursor" }]);
  let content: unknown;
  try {
    const bytes = Uint8Array.from(atob(cursor.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    content = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw invalid("is damaged");
  }
  if (!Array.isArray(content) || content.length !== length + 1 || typeof content.at(-1) !== "string") throw invalid("is damaged");
  if (content[0] !== fingerprint) throw invalid("belongs to another filter or sort");
  const position: JsonValue[] = content.slice(1);
  if (position.some((value) => typeof value === "object" && value !== null)) throw invalid("is damaged");
  return position;
}

/** 64 bits of SHA-256 over the query's own JSON. */
export async function fingerprintOf(query: unknown): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(query)));
  return Array.from(new Uint8Array(digest, 0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
