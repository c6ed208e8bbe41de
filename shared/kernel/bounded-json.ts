import type { JsonObject, JsonValue } from "./json.ts";

/** What a value costs: the bytes of its JSON as the store counts them, and the levels below it (0 for a scalar). */
export interface JsonSize {
  readonly bytes: number;
  readonly levels: number;
}

/** Text whose JSON is itself in quotes, one byte a character. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;
const SMALL_NUMBER = /^(-?)\d(?:\.(\d+))?e-(\d+)$/;
const encoder = new TextEncoder();

/**
 * The size of every object and list in a value, found in one walk: each is measured once, from its members up. A member that is
 * undefined is none, as for JSON.stringify.
 */
export class JsonSizes {
  readonly #known = new WeakMap<object, JsonSize>();

  of(value: JsonValue | undefined): JsonSize {
    if (typeof value !== "object" || value === null) return { bytes: scalarBytes(value), levels: 0 };
    const known = this.#known.get(value);
    if (known) return known;
    const size = Array.isArray(value) ? this.#ofList(value) : this.#ofObject(value as JsonObject);
    this.#known.set(value, size);
    return size;
  }

  /** A member with its name, the colon and the comma after it. */
  ofMember(name: string, value: JsonValue | undefined): JsonSize {
    const { bytes, levels } = this.of(value);
    return { bytes: stringBytes(name) + bytes + 2, levels };
  }

  #ofList(list: readonly JsonValue[]): JsonSize {
    let bytes = 1 + Math.max(list.length, 1);
    let levels = 0;
    for (const item of list) {
      const size = this.of(item);
      bytes += size.bytes;
      levels = Math.max(levels, size.levels);
    }
    return { bytes, levels: levels + 1 };
  }

  #ofObject(object: JsonObject): JsonSize {
    let bytes = 1;
    let levels = 0;
    for (const [name, value] of Object.entries(object)) {
      if (value === undefined) continue;
      const size = this.ofMember(name, value);
      bytes += size.bytes;
      levels = Math.max(levels, size.levels);
    }
    return { bytes: Math.max(bytes, 2), levels: levels + 1 };
  }
}

function scalarBytes(value: null | boolean | number | string | undefined): number {
  if (typeof value === "string") return stringBytes(value);
  if (typeof value !== "number") return String(value ?? null).length;
  const text = String(value);
  const [, sign = "", fraction = "", exponent] = SMALL_NUMBER.exec(text) ?? [];
  // jsonb writes 5e-324 out: 0.000…5, 326 characters.
  return exponent === undefined ? text.length : sign.length + 2 + Number(exponent) + fraction.length;
}

function stringBytes(text: string): number {
  return PLAIN.test(text) ? text.length + 2 : encoder.encode(JSON.stringify(text)).length;
}

export interface Bounds {
  /** Of the whole. */
  readonly bytes: number;
  /** Below the whole, which is one itself. */
  readonly levels: number;
  /** Of one member, when something has to go. */
  readonly memberBytes: number;
}

/** So deep a member is looked into before it goes as a whole. */
const STEPS = 3;
/** What a member is cut to when all of them together are still too much. */
const SHORT_BYTES = 256;
/** Where the members that went are counted. */
export const OMITTED = "[omitted]";

/**
 * An object within its bounds. A member that is too long or too deep is replaced by its size, within an object where that is enough;
 * where even that is too much, members that do not fit are left out and counted. Linear: nothing is measured twice.
 */
export function boundedJson(object: JsonObject, bounds: Bounds): JsonObject {
  const cut = new Cut(bounds);
  if (cut.fits(object, bounds.bytes, bounds.levels) && cut.membersFit(object)) return object;
  const shortened = cut.members(object, bounds.memberBytes, bounds.levels, STEPS);
  if (cut.fits(shortened, bounds.bytes, bounds.levels)) return shortened;
  return cut.picked(cut.members(object, SHORT_BYTES, bounds.levels, STEPS - 1));
}

class Cut {
  readonly #sizes = new JsonSizes();

  constructor(private readonly bounds: Bounds) {}

  fits(value: JsonValue, bytes: number, levels: number): boolean {
    const size = this.#sizes.of(value);
    return size.bytes <= bytes && size.levels <= levels;
  }

  membersFit(object: JsonObject): boolean {
    return Object.values(object).every((value) => this.#sizes.of(value).bytes <= this.bounds.memberBytes);
  }

  members(object: JsonObject, bytes: number, levels: number, steps: number): JsonObject {
    return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, this.#value(value, bytes, levels - 1, steps)]));
  }

  /** As many members as fit, in their order. */
  picked(object: JsonObject): JsonObject {
    if (this.fits(object, this.bounds.bytes, this.bounds.levels)) return object;
    const kept: [string, JsonValue][] = [];
    let left = this.bounds.bytes - SHORT_BYTES;
    const gone = { members: 0, bytes: 0 };
    for (const [name, value] of Object.entries(object)) {
      const { bytes } = this.#sizes.ofMember(name, value);
      if (bytes <= left) {
        kept.push([name, value]);
        left -= bytes;
      } else {
        gone.members += 1;
        gone.bytes += bytes;
      }
    }
    return Object.fromEntries([...kept, [OMITTED, `[omitted: ${gone.members} members, ${gone.bytes} bytes]`]]);
  }

  #value(value: JsonValue, bytes: number, levels: number, steps: number): JsonValue {
    if (value === undefined || this.fits(value, bytes, levels)) return value;
    const inner = steps > 1 && isMembers(value) ? this.members(value, bytes, levels, steps - 1) : null;
    return inner && this.fits(inner, this.bounds.bytes / 2, levels) ? inner : `[omitted: ${this.#sizes.of(value).bytes} bytes]`;
  }
}

function isMembers(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
