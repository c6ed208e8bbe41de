import type { FieldError } from "./errors.ts";

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };
export type JsonObject = { readonly [key: string]: JsonValue };

/** Escapes one reference token of a JSON Pointer (RFC 6901 §3). */
export function pointerToken(token: string): string {
  return token.replaceAll("~", "~0").replaceAll("/", "~1");
}

/**
 * Finds the first place in `value` that Postgres jsonb or a JavaScript reader cannot hold without
 * loss: U+0000, a lone surrogate, a number that is not finite or an integer above 2^53 − 1,
 * `undefined`, or anything that is not plain JSON. Answers null when the value is fine.
 */
export function findUnstorable(value: unknown, pointer = "", depth = 0): FieldError | null {
  const fail = (message: string, code: string): FieldError => ({ path: pointer, message, code });
  if (depth > 64) return fail("is nested deeper than 64 levels", "too_deep");
  switch (typeof value) {
    case "string":
      if (value.includes("\u0000")) return fail("contains U+0000", "null_character");
      return value.isWellFormed() ? null : fail("contains a lone surrogate", "lone_surrogate");
    case "number":
      if (!Number.isFinite(value)) return fail("is not a finite number", "not_finite");
      return Number.isInteger(value) && !Number.isSafeInteger(value) ? fail("is an integer beyond 2^53 - 1", "unsafe_integer") : null;
    case "boolean":
      return null;
    case "object":
      break;
    default:
      return fail(`is ${typeof value}, not JSON`, "not_json");
  }
  if (value === null) return null;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const found = findUnstorable(value[i], `${pointer}/${i}`, depth + 1);
      if (found) return found;
    }
    return null;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return fail("is not a plain object", "not_json");
  for (const [name, member] of Object.entries(value)) {
    const at = `${pointer}/${pointerToken(name)}`;
    const badName = findUnstorable(name, at, depth + 1);
    if (badName) return badName;
    if (member === undefined) continue; // JSON.stringify leaves it out
    const found = findUnstorable(member, at, depth + 1);
    if (found) return found;
  }
  return null;
}
