import { InnkeepError } from "../kernel/errors.ts";

/** The last entry's sort fields and key, as the database's own text: a number never passes through a double. */
export type Position = readonly (string | null)[];

/**
 * Opaque cursors: base64url of `[fingerprint, ...position]`. The fingerprint ties a cursor to the filter
 * and sort it was made for; a cursor holds no state on the server, so it survives restarts.
 */
export function encodeCursor(fingerprint: string, position: Position): string {
  const bytes = new TextEncoder().encode(JSON.stringify([fingerprint, ...position]));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The position in a cursor. Throws `invalid_cursor` when it is damaged or of another query. */
export function decodeCursor(fingerprint: string, cursor: string, length: number): Position {
  let content: unknown;
  try {
    const bytes = Uint8Array.from(atob(cursor.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    content = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw invalidCursor("is damaged");
  }
  if (!Array.isArray(content) || content.length !== length + 1 || typeof content.at(-1) !== "string") throw invalidCursor("is damaged");
  if (content[0] !== fingerprint) throw invalidCursor("belongs to another filter or sort");
  const position: unknown[] = content.slice(1);
  if (!position.every((value) => value === null || typeof value === "string")) throw invalidCursor("is damaged");
  return position;
}

export function invalidCursor(why: string): InnkeepError {
  return new InnkeepError("invalid_cursor", `The cursor ${why}. Start again without it.`, [{
    path: "cursor",
    message: why,
    code: "invalid_cursor",
  }]);
}

/**
 * 64 bits of FNV-1a over the query's own JSON, as two runs of 32 bits. It keeps honest callers from mixing
 * cursors up; a forged position is only another place to read from, under the same rights.
 */
export function fingerprintOf(query: unknown): string {
  const text = JSON.stringify(query);
  const hash = (basis: number) => {
    let h = basis;
    for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
    return (h >>> 0).toString(16).padStart(8, "0");
  };
  return hash(0x811c9dc5) + hash(0x050c5d1f);
}
