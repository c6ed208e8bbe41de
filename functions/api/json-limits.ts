import { InnkeepError } from "../../shared/kernel/errors.ts";
import { MAX_DEPTH } from "../../shared/kernel/json.ts";

/** The limit of members and elements of one body, counted together. Validating 20,000 values takes at most about 20 ms. */
export const MAX_VALUES = 20_000;

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/**
 * Refuses JSON that is nested too deeply or has too many values, in one pass over its bytes. It runs before the parser and
 * before all other recursive or slow code. The parser reports malformed JSON. Throws `validation_failed` with the limit.
 */
export function assertJsonLimits(bytes: Uint8Array): void {
  let depth = 0;
  // A value follows each comma and each start of a list or object.
  let values = 1;
  for (let i = 0; i < bytes.length; i++) {
    switch (bytes[i]) {
      case QUOTE:
        i = endOfString(bytes, i + 1);
        break;
      case COMMA:
        values += 1;
        break;
      case OPEN_LIST:
      case OPEN_OBJECT:
        depth += 1;
        values += 1;
        if (depth > MAX_DEPTH) throw refusal(`must not be nested deeper than ${MAX_DEPTH} levels`, "too_deep", MAX_DEPTH);
        break;
      case CLOSE_LIST:
      case CLOSE_OBJECT:
        depth -= 1;
        break;
      default:
        break;
    }
    if (values > MAX_VALUES) {
      throw refusal(`must have at most ${MAX_VALUES} members and elements; split it into smaller requests`, "too_many_values", MAX_VALUES);
    }
  }
}

/** The index of the closing quote, or the end. In UTF-8, no byte of a non-ASCII character equals a quote or backslash. */
function endOfString(bytes: Uint8Array, start: number): number {
  let i = start;
  while (i < bytes.length && bytes[i] !== QUOTE) i += bytes[i] === BACKSLASH ? 2 : 1;
  return i;
}

function refusal(message: string, code: string, limit: number): InnkeepError {
  return new InnkeepError("validation_failed", `The body ${message}.`, [{ path: "", message, code }], { limit });
}
