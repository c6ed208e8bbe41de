import { errors } from "../kernel/errors.ts";
import { assertKey } from "./key.ts";

/** One call on a token bucket. A bucket that does not exist is full. */
export interface Take {
  readonly key: string;
  /** The tokens of a full bucket. */
  readonly capacity: number;
  /** Whole seconds in which an empty bucket becomes full. */
  readonly windowSeconds: number;
  /** The tokens that the call needs. They are charged also if it is denied. */
  readonly cost: number;
  /** Tokens of earlier calls, charged before this one. */
  readonly owed?: number;
  /** Tokens to take for later calls. At most a twentieth of what is left is given. */
  readonly wanted?: number;
}

export interface Taken {
  /** Whether the bucket had the tokens. */
  readonly granted: boolean;
  /** What the bucket holds now; negative after denied calls, but never so far that a window would not refill one token. */
  readonly tokens: number;
  /** The tokens taken for later calls. */
  readonly more: number;
}

/** 115 days, as a window. */
const MAX_NUMBER = 10_000_000;

/** Throws `invalid_key` or `invalid_parameter`. */
export function assertTake({ key, capacity, windowSeconds, cost, owed = 0, wanted = 0 }: Take): void {
  assertKey(key);
  const inBounds = (values: Readonly<Record<string, number>>, least: number) => {
    const [wrong] = Object.entries(values).find(([, value]) => !(Number.isInteger(value) && value >= least && value <= MAX_NUMBER)) ?? [];
    if (wrong !== undefined) throw errors.parameter(wrong, `must be a whole number from ${least} to ${MAX_NUMBER}`);
  };
  inBounds({ capacity, windowSeconds }, 1);
  inBounds({ cost, owed, wanted }, 0);
}
