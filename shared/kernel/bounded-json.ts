import type { JsonObject, JsonValue } from "./json.ts";

/** The size of a value: the bytes of its JSON as the store counts them, and its levels of nesting (0 for a scalar). */
export interface JsonSize {
  readonly bytes: number;
  readonly levels: number;
}

/** Text that JSON neither escapes nor encodes in several bytes. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;
const SMALL_NUMBER = /^(-?)\d(?:\.(\d+))?e-(\d+)$/;
const encoder = new TextEncoder();

/** The sizes of the objects and lists in a value. Each is measured once. Undefined members are skipped, as in JSON.stringify. */
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

  /** The size of a member with its name, a colon and a comma. */
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
  // jsonb writes no exponents: 5e-324 has 326 characters.
  return sign.length + 2 + Number(exponent) + fraction.length;
}

function stringBytes(text: string): number {
  return PLAIN.test(text) ? text.length + 2 : encoder.encode(JSON.stringify(text)).length;
}

export interface Bounds {
  /** The maximum size of the object. */
  readonly bytes: number;
  /** The maximum number of levels, the object itself included. */
  readonly levels: number;
  /** The maximum size of one member. */
  readonly memberBytes: number;
}

/** The number of levels on which single members are replaced. A member below them is replaced as a whole. */
const STEPS = 3;
/** The maximum size of one member if the object is still too large. */
const SHORT_BYTES = 256;
/** The name of the member that counts the omitted ones. */
export const OMITTED = "[omitted]";

/**
 * Returns the object, reduced to its bounds. A member that is too large or too deep is replaced by its size in bytes; in a nested
 * object, single members are replaced if that is enough. If it is not, members that do not fit are omitted and counted.
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

/** The bounds of one member. `steps` is the number of levels on which its own members are replaced. */
interface Allowance {
  readonly bytes: number;
  readonly levels: number;
  readonly steps: number;
}

class Cut {
  constructor(private readonly sizes: JsonSizes, private readonly bounds: Bounds) {}

  /** The object with its members reduced; null if that exceeds `bytes`. */
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

  /** As many members as fit, in their order, and the count of the others. */
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
