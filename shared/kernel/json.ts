import type { FieldError } from "./errors.ts";

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };
export type JsonObject = { readonly [key: string]: JsonValue };

/** The value as JSON, without undefined members. */
export function plainJson(value: unknown): JsonValue {
  return JSON.parse(JSON.stringify(value)) as JsonValue;
}

/** The maximum depth of nesting. Deeper input is refused before any recursive function processes it. */
export const MAX_DEPTH = 64;
const MAX_TOKEN_CHARS = 300;

/** Escapes one reference token of a JSON Pointer (RFC 6901 §3). Names are cut to 300 characters. */
export function pointerToken(token: string): string {
  return token.slice(0, MAX_TOKEN_CHARS).replaceAll("~", "~0").replaceAll("/", "~1");
}

/** A fault and its place, innermost name first. The pointer is built only if the value is refused. */
interface Fault {
  readonly message: string;
  readonly code: string;
  readonly place: string[];
}

/** Values that must not reach a schema: it would recurse without end or try every form of JSON on each level. */
const UNPARSABLE: ReadonlySet<string> = new Set(["too_deep", "not_finite", "not_json"]);

/** Whether a result of {@link findUnstorable} means that no schema may parse the value. */
export function isUnparsable(error: FieldError): boolean {
  return UNPARSABLE.has(error.code);
}

/**
 * Finds the first part of `value` that jsonb or a JavaScript reader cannot hold without loss: U+0000, a lone surrogate, a number
 * that is not finite, an integer beyond ±(2^53 − 1), nesting deeper than 64 levels, or anything but plain JSON. Parts that no schema may
 * parse take precedence. Returns null if the value can be stored.
 */
export function findUnstorable(value: unknown, pointer = ""): FieldError | null {
  const first = faultOf(value, 0, true);
  const found = first && !UNPARSABLE.has(first.code) ? faultOf(value, 0, false) ?? first : first;
  return found && { path: pointer + pointerFrom(found.place), message: found.message, code: found.code };
}

function pointerFrom(innermostFirst: readonly string[]): string {
  return innermostFirst.toReversed().map((name) => `/${pointerToken(name)}`).join("");
}

function fault(message: string, code: string): Fault {
  return { message, code, place: [] };
}

function textFault(text: string): Fault | null {
  if (text.includes("\u0000")) return fault("must not contain U+0000", "null_character");
  return text.isWellFormed() ? null : fault("must not contain a lone surrogate", "lone_surrogate");
}

/** The first fault. Without `all`, only faults that are {@link UNPARSABLE} are found. */
function faultOf(value: unknown, depth: number, all: boolean): Fault | null {
  if (depth > MAX_DEPTH) return fault(`must not be nested deeper than ${MAX_DEPTH} levels`, "too_deep");
  switch (typeof value) {
    case "string":
      return all ? textFault(value) : null;
    case "number":
      if (!Number.isFinite(value)) return fault("must be a finite number", "not_finite");
      return all && Number.isInteger(value) && !Number.isSafeInteger(value)
        ? fault("must be an integer of at most 2^53 - 1", "unsafe_integer")
        : null;
    case "boolean":
      return null;
    case "object":
      return value === null ? null : faultInside(value, depth, all);
    default:
      return fault(`must be JSON, not ${typeof value}`, "not_json");
  }
}

function faultInside(value: object, depth: number, all: boolean): Fault | null {
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const found = faultOf(value[i], depth + 1, all);
      if (found) return at(String(i), found);
    }
    return null;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return fault("must be a plain object", "not_json");
  for (const name of Object.keys(value)) {
    const member = (value as Readonly<Record<string, unknown>>)[name];
    // JSON.stringify omits undefined members.
    const found = (all ? textFault(name) : null) ?? (member === undefined ? null : faultOf(member, depth + 1, all));
    if (found) return at(name, found);
  }
  return null;
}

function at(name: string, found: Fault): Fault {
  found.place.push(name);
  return found;
}

/** Finds a member named `__proto__`, which code that copies objects mishandles. Requires values of bounded depth. */
export function findForbiddenName(value: unknown): FieldError | null {
  const place = placeOfName(value, "__proto__");
  return place && { path: pointerFrom(place), message: "must not be a name of a member", code: "forbidden_name" };
}

function placeOfName(value: unknown, forbidden: string): string[] | null {
  if (typeof value !== "object" || value === null) return null;
  for (const [name, member] of Object.entries(value)) {
    const place = name === forbidden ? [] : placeOfName(member, forbidden);
    if (!place) continue;
    place.push(name);
    return place;
  }
  return null;
}
