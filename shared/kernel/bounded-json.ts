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
  if (Number.isInteger(value) || Math.abs(value) >= 1e-6) return text.length;
  const [, sign = "", fraction = "", exponent = ""] = SMALL_NUMBER.exec(text) ?? [];
  // jsonb writes 5e-324 out: 0.000…5, 326 characters.
  return sign.length + 2 + Number(exponent) + fraction.length;
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
  const sizes = new JsonSizes();
  const whole = sizes.of(object);
  const isShort = (value: JsonValue) => sizes.of(value).bytes <= bounds.memberBytes;
  if (whole.bytes <= bounds.bytes && whole.levels <= bounds.levels && Object.values(object).every(isShort)) return object;
  const cut = new Cut(sizes, bounds);
  return cut.members(object, { bytes: bounds.memberBytes, levels: bounds.levels, steps: STEPS }, bounds.bytes) ??
    cut.members(object, { bytes: SHORT_BYTES, levels: bounds.levels, steps: STEPS - 1 }, bounds.bytes) ??
    cut.picked(object, { bytes: SHORT_BYTES, levels: bounds.levels, steps: STEPS - 1 });
}

/** What a member may be: `steps` is how much deeper it is looked into. */
interface Allowance {
  readonly bytes: number;
  readonly levels: number;
  readonly steps: number;
}

class Cut {
  constructor(private readonly sizes: JsonSizes, private readonly bounds: Bounds) {}

  /** The object with its members cut; null as soon as that is more than `bytes`. */
  members(object: JsonObject, allowed: Allowance, bytes: number): JsonObject | null {
    const kept: [string, JsonValue][] = [];
    let left = bytes - 2;
    for (const [name, value] of Object.entries(object)) {
      const cut = this.#value(value, allowed);
      left -= this.sizes.ofMember(name, cut).bytes;
      if (left < 0) return null;
      kept.push([name, cut]);
    }
    return Object.fromEntries(kept);
  }

  /** As many members as fit, in their order. */
  picked(object: JsonObject, allowed: Allowance): JsonObject {
    const kept: [string, JsonValue][] = [];
    let left = this.bounds.bytes - SHORT_BYTES;
    const gone = { members: 0, bytes: 0 };
    for (const [name, value] of Object.entries(object)) {
      const cut = this.#value(value, allowed);
      const { bytes } = this.sizes.ofMember(name, cut);
      if (bytes <= left) {
        kept.push([name, cut]);
        left -= bytes;
      } else {
        gone.members += 1;
        gone.bytes += this.sizes.ofMember(name, value).bytes;
      }
    }
    return Object.fromEntries([...kept, [OMITTED, `[omitted: ${gone.members} members, ${gone.bytes} bytes]`]]);
  }

  #value(value: JsonValue, { bytes, levels, steps }: Allowance): JsonValue {
    const size = this.sizes.of(value);
    if (value === undefined || size.bytes <= bytes && size.levels < levels) return value;
    const inner = steps > 1 && isMembers(value)
      ? this.members(value, { bytes, levels: levels - 1, steps: steps - 1 }, this.bounds.bytes / 2)
      : null;
    return inner ?? `[omitted: ${size.bytes} bytes]`;
  }
}

function isMembers(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
