import type { InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import type { Addition } from "../../kv/store.ts";
import type { UsageRecord } from "./entity.ts";
import { plus } from "./rules.ts";

/** A usage record after a count. For a repeated idempotency key, the record as the first call left it. */
export interface Counted {
  readonly value: JsonObject;
  readonly version: string;
}

/** The count beside an amount that is reserved: a program that sets or lowers a level does not change what others hold. */
export type CountBeside = (reserved: number) => Count;

/** A count: the additions, and the members to set with them. */
export interface Count {
  readonly add: readonly Addition[];
  readonly merge: JsonObject;
  /** The error if `current` would pass its lower bound. */
  readonly refusal?: InnkeepError | undefined;
}

/** A correction of a counter. An undefined limit is unchanged. */
export interface Correction {
  /** The new amount, without what is reserved. */
  readonly to: (settled: number) => number;
  readonly limit: number | null | undefined;
  readonly request: JsonObject;
}

export function isConditional({ ifMatch, ifNoneMatch }: ChangeOptions): boolean {
  return ifMatch !== undefined || ifNoneMatch !== undefined;
}

export function besides(count: Count | CountBeside, reserved: number): Count {
  return typeof count === "function" ? count(reserved) : count;
}

/** Whether the count would pass its lower bound. */
export function isBelow({ current }: UsageRecord, { add }: Count): boolean {
  return add.some(({ path: [name], by = 0, min }) => name === "current" && min !== undefined && plus(current, by) < min);
}

export function raised(addition: Addition, by: number): Addition {
  return addition.path[0] === "daily" && addition.by !== undefined ? { ...addition, by: plus(addition.by, by) } : addition;
}
