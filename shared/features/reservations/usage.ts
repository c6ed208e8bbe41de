import { Collection } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { Addition, Check, Mutation } from "../../kv/store.ts";
import { type UsageRecord, usageRecord } from "../usage/entity.ts";
import { type Mark, markFor } from "../usage/marks.ts";
import { Meter } from "../usage/meter.ts";
import { boundOf } from "../usage/policies.ts";
import { additionsOf, bookingDay, type Opening, openingOf, type Place } from "../usage/reads.ts";
import { plus, settledLevel, thresholdsReached } from "../usage/rules.ts";

/** The usage at a place, or its first form. */
export interface FoundUsage {
  readonly place: Place;
  readonly record: UsageRecord;
  readonly version: string | null;
  readonly opening: Opening | null;
}

/** What changes in the usage. */
export interface UsageChange {
  /** Added to what is used or reserved. */
  readonly current: number;
  /** Added to what is reserved. */
  readonly reserved?: number;
  /** Added to the day and the hour of an instant within the month. */
  readonly used?: { readonly amount: number; readonly at: string };
}

/** What a commit adds to the usage at a place. */
export interface Added {
  readonly place: Place;
  readonly by: number;
}

/** The usage's part of a commit. Once the commit has succeeded, call `written` of each mark, and {@link settleCrossed}. */
export interface UsagePart {
  readonly checks: readonly Check[];
  readonly mutations: readonly Mutation[];
  readonly marks: readonly Mark[];
  readonly added: readonly Added[];
}

/** The decisions in which a gauge's first write checks the earlier record that it continues. */
const CARRY_CHECKS = 3;

/** Reads the usage at a place. Throws `not_found` if the tenant does not exist. */
export async function findUsage(work: UnitOfWork, place: Place): Promise<FoundUsage> {
  const found = await new Collection(usageRecord, work.store).get(place.key);
  if (found) return { place, record: found, version: found.version, opening: null };
  const opening = await openingOf(work, place);
  if (!opening) throw errors.notFound("tenant", place.tenantId);
  return { place, record: opening.record, version: null, opening };
}

/** Changes the usage, atomically and never beyond what the policy allows. `attempt` counts the decisions, from 1. */
export function usagePart(work: UnitOfWork, found: FoundUsage, change: UsageChange, attempt: number): UsagePart {
  const { place, record, version, opening } = found;
  const { used } = change;
  const now = work.now();
  const behind = used && !opening ? behindOf(found, used.at) : 0;
  const mark = markFor(work, place.tenantId, place.period);
  const daily = place.metric.kind === "gauge" ? { [bookingDay(place, work.context.clock.now())]: record.current } : {};
  return {
    checks: [
      ...opening?.checks ?? [],
      ...(opening?.carried && attempt <= CARRY_CHECKS ? [opening.carried] : []),
      ...(behind === 0 ? [] : [{ key: place.key, version }]),
    ],
    mutations: [{
      op: "increment",
      key: place.key,
      add: [...totals(found, change), ...(used ? counted(place, used, behind) : [])],
      merge: { updatedAt: now, ...(used && place.metric.kind === "gauge" ? { levelAt: now } : {}) },
      ...(opening ? { initial: { value: { ...record, daily } as JsonObject } } : {}),
    }, ...(mark ? [mark.mutation] : [])],
    marks: mark ? [mark] : [],
    added: [{ place, by: change.current }],
  };
}

/** Writes alerts and `usagePercent` if a commit crossed a threshold. `values`: the usage after the commit, by key. */
export async function settleCrossed(work: UnitOfWork, added: readonly Added[], values: Readonly<Record<string, unknown>>): Promise<void> {
  for (const { place, by } of added) {
    if (!values[place.key]) continue;
    const after = usageRecord.schema.parse(values[place.key]);
    const before = { current: plus(after.current, -by), limit: after.limit };
    const { thresholds } = place.metric;
    if (thresholdsReached(before, thresholds) !== thresholdsReached(after, thresholds)) await new Meter(work).settleAfter(place);
  }
}

function totals({ place }: FoundUsage, { current, reserved = 0 }: UsageChange): Addition[] {
  const bounds = current > 0 ? boundOf(place.metric) : current < 0 ? { min: 0 } : {};
  return [{ path: ["current"], by: current, ...bounds }, { path: ["reserved"], by: reserved, min: 0 }];
}

/** The additions to the day and the hour. */
function counted(place: Place, { amount, at }: Required<UsageChange>["used"], behind: number): Addition[] {
  return additionsOf(place, plus(amount, behind), Date.parse(at)).filter(({ path: [name] }) => name !== "current");
}

/** A gauge's level minus its amount of the day, which begins at zero. */
function behindOf({ place, record }: FoundUsage, at: string): number {
  if (place.metric.kind !== "gauge") return 0;
  return plus(settledLevel(record), -(record.daily[bookingDay(place, Date.parse(at))] ?? 0));
}
