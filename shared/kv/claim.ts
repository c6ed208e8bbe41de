import { isoTime } from "../kernel/clock.ts";
import { errors, InnkeepError } from "../kernel/errors.ts";
import { findUnstorable } from "../kernel/json.ts";
import { indexesOf } from "./define.ts";
import { isTimestamp } from "./key.ts";
import { assertLimit, wireSelection } from "./query-plan.ts";
import type { WireQuery } from "./query-plan.ts";
import type { Claim } from "./store.ts";

/** A claim as `kv_claim` expects it. */
export type WireClaim = Pick<WireQuery, "family" | "colons" | "where"> & Pick<Claim, "due" | "until" | "limit" | "perTenant"> & {
  /** The instant at which the entries must be due, in the form of the field. */
  readonly now: string;
  readonly set: NonNullable<Claim["set"]>;
};

/** Validates and encodes a claim. Throws `invalid_parameter`, `invalid_ttl` or `validation_failed`. */
export function wireClaim({ entity, due, until, set = {}, where = [], limit, perTenant }: Claim, nowMs: number): WireClaim {
  const now = isoTime(nowMs);
  assertLimit(limit);
  if (perTenant !== undefined) assertLimit(perTenant);
  assertIndex(entity, [due]);
  if (perTenant !== undefined) assertIndex(entity, ["@tenantId", due]);
  // A change of an entry in an audit chain is refused by the database. A rollup would make claims wait for each other.
  if (entity.appendOnly || entity.rollup) throw new InnkeepError("forbidden", `Entries of ${entity.name} cannot be claimed.`);
  if (!isTimestamp(until) || until <= now) throw errors.parameter("until", "must be an instant in the future");
  const unstorable = findUnstorable(set, "/set");
  if (unstorable) throw errors.validation([unstorable]);
  const { owner: _, ...selection } = wireSelection({ entity, scope: "any", where }, null);
  return { ...selection, due, now, until, set, limit, ...(perTenant === undefined ? {} : { perTenant }) };
}

/** Without the index, every claim would read the whole family. */
function assertIndex(entity: Claim["entity"], fields: readonly string[]): void {
  if (indexesOf(entity).some((index) => index.join() === fields.join())) return;
  throw errors.parameter("due", `must be a field of ${entity.name} with an index on (${fields.join(", ")})`);
}
