import { InnkeepError } from "../kernel/errors.ts";

/** The sort fields and key of the last entry in PostgreSQL's text form, so that numbers are not converted to doubles. */
export type Position = readonly (string | null)[];

/**
 * An opaque cursor: base64url of `[fingerprint, ...position]`. The fingerprint binds it to its filter and sort. There is no state on
 * the server, so a cursor remains valid after a restart.
 */
export function encodeCursor(fingerprint: string, position: Position): string {
  const bytes = new TextEncoder().encode(JSON.stringify([fingerprint, ...position]));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The position in a cursor. Throws `invalid_cursor` if the cursor is damaged or was issued for another query. */
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

/** An `invalid_cursor` error. `why` follows "The cursor". */
export function invalidCursor(why: string): InnkeepError {
  return new InnkeepError("invalid_cursor", `The cursor ${why}. Start again without it.`, [{
    path: "cursor",
    message: why,
    code: "invalid_cursor",
  }]);
}

/**
 * A 64-bit hash of the query's JSON: two 32-bit FNV-1a hashes. It detects a cursor of another query and is no protection against
 * forgery, which is not needed: a forged position is read with the caller's own rights.
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

/** The part of a query that its cursors are bound to: not what follows the present or a reader. */
export function steadyPart<Q extends { readonly where: readonly object[] }>(query: Q): Q {
  const steady = query.where.filter((condition) => !("notIn" in condition || "moving" in condition));
  return { ...query, where: steady.map((condition) => "boundBy" in condition ? { ...condition, in: [] } : condition) };
}
