import { Collection } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import type { AggregateRow, Condition } from "../../kv/store.ts";
import { type Flag, flagOverride } from "../flags/entity.ts";
import { constantResult, type FlagFacts } from "./rules.ts";

type OverrideFacts = Pick<FlagFacts, "isOverridden" | "expiredSince">;

/** What the overrides of each flag say at an instant. They are counted in the database. */
export async function overridesAt(work: UnitOfWork, flags: readonly Flag[], now: string): Promise<(flag: Flag) => OverrideFacts> {
  // The end of a condition is exclusive, and an override has expired at its instant.
  const isExpired: Condition = { field: "expiresAt", to: isoTime(Date.parse(now) + 1) };
  const constant = flags.filter((flag) => flag.status !== "disabled" && constantResult(flag) !== null).map(({ id }) => id);
  const count = async (where: Condition): Promise<Counts> =>
    countsOf(await work.store.aggregate({ entity: flagOverride, where: [where], groupBy: ["flagId", "enabled"] }));
  const [all, expired] = await Promise.all([
    constant.length === 0 ? new Map<string, number>() : count({ field: "flagId", in: constant }),
    count(isExpired),
  ]);
  const withExpired = flags.filter(({ id }) => [true, false].some((enabled) => (expired.get(nameOf(id, enabled)) ?? 0) > 0));
  const since = new Map(await Promise.all(withExpired.map(async ({ id }) => [id, await firstExpiry(work, id, isExpired)] as const)));
  const live = (id: string, enabled: boolean) => (all.get(nameOf(id, enabled)) ?? 0) - (expired.get(nameOf(id, enabled)) ?? 0);
  return (flag) => ({ isOverridden: isOverridden(flag, (enabled) => live(flag.id, enabled)), expiredSince: since.get(flag.id) ?? null });
}

/** Numbers of overrides by flag and by what they say. */
type Counts = ReadonlyMap<string, number>;

function countsOf(rows: readonly AggregateRow[]): Counts {
  return new Map(rows.map(({ group: [flagId, enabled], count }) => [nameOf(String(flagId), enabled === "true"), count]));
}

function nameOf(flagId: string, enabled: boolean): string {
  return `${flagId} ${enabled}`;
}

/** An override that says the same as the flag can still choose another of several variants. */
function isOverridden(flag: Flag, live: (enabled: boolean) => number): boolean {
  const constant = constantResult(flag);
  if (constant === null) return false;
  const hasVariants = Object.keys(flag.variants ?? {}).length > 1;
  return live(constant === "off") > 0 || (hasVariants && live(constant === "on") > 0);
}

async function firstExpiry(work: UnitOfWork, flagId: string, isExpired: Condition): Promise<string | null> {
  const { records: [first] } = await new Collection(flagOverride, work.store).list({
    where: [{ field: "flagId", in: [flagId] }, isExpired],
    orderBy: [{ field: "expiresAt", direction: "asc" }],
    limit: 1,
  });
  return first?.expiresAt ?? null;
}
