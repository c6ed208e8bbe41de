import { Collection } from "../../core/collection.ts";
import type { Decision, UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors, type FieldError } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import type { Check, Entry, Mutation } from "../../kv/store.ts";
import { tenant as tenantEntity } from "../tenants/entity.ts";
import { usageRecord } from "../usage/entity.ts";
import { type Mark, markFor } from "../usage/marks.ts";
import { openingOf, type Place, placeOf } from "../usage/reads.ts";
import type { Keyed } from "./chunks.ts";
import { type UsageEvent, usageEvent, usageGroups } from "./entity.ts";
import { type Booking, bookingOf, isRepeat } from "./rules.ts";
import { groupsKey, Tally } from "./tally.ts";

/** The result of one event. */
export type Outcome =
  | (
    & { readonly status: "accepted" | "adjusted" | "duplicate"; readonly usageEventId: string }
    & Pick<UsageEvent, "period" | "adjusts" | "applied">
  )
  | { readonly status: "rejected"; readonly error: FieldError };

export function rejected(path: string, message: string, code: string): Extract<Outcome, { status: "rejected" }> {
  return { status: "rejected", error: { path, message, code } };
}

export function mismatch(): Outcome {
  const message = "must be the same event as the one that was received with this source and id; use a new id for a new event";
  return rejected("/id", message, "idempotency_mismatch");
}

/** The outcome of an event that was counted before. */
export function duplicateOf(
  { period, adjusts, applied }: Pick<UsageEvent, "period" | "adjusts" | "applied">,
  usageEventId: string,
): Outcome {
  return { status: "duplicate", usageEventId, period, ...(adjusts === undefined ? {} : { adjusts }), applied };
}

/** Gets what each decision changes, for what follows its commit. It is no member of the result, which an idempotency key stores. */
type OnDecision = (tallies: readonly Tally[], marks: readonly Mark[]) => void;

/**
 * Decides on events of one tenant: which of them are new, in which month each counts, and the commit that stores and counts them. Each
 * checks that its key is free, so of concurrent senders of one event exactly one counts it.
 */
export async function decideOn(
  work: UnitOfWork,
  tenantId: string,
  chunk: readonly Keyed[],
  changed: OnDecision,
): Promise<Decision<{ readonly outcomes: readonly Outcome[] }>> {
  const nowMs = work.context.clock.now();
  const bookings = chunk.map(({ event, metric }) => bookingOf(event, metric.kind, nowMs));
  const found = await readAll(work, tenantId, chunk, bookings);
  if (!found) return { done: { outcomes: chunk.map(() => unknownTenant(tenantId)) }, isFailure: true };
  const events: UsageEvent[] = [];
  const outcomes = chunk.map((one, i): Outcome => {
    const stored = found.events[i];
    if (stored) return isRepeat(stored, one.event) ? duplicateOf(stored, stored.id) : mismatch();
    const booking = bookings[i] as Booking | FieldError;
    if ("message" in booking) return { status: "rejected", error: booking };
    const tally = found.tallies.get(placeOf(tenantId, one.metric, booking.period).key) as Tally;
    const { amount = 1, dimensions = {} } = one.event.data;
    const error = tally.faultOf(dimensions);
    if (error) return { status: "rejected", error };
    const record = recordOf(one, booking, tally.add(booking, amount, dimensions), isoTime(nowMs));
    events.push(record);
    const { id: usageEventId, period, adjusts, applied } = record;
    const result = { usageEventId, period, applied };
    return adjusts === undefined ? { status: "accepted", ...result } : { status: "adjusted", adjusts, ...result };
  });
  const tallies = [...found.tallies.values()].filter(({ isCounted }) => isCounted);
  const periods = new Set(tallies.map(({ place }) => place.period));
  const marks = [...periods].flatMap((period) => markFor(work, tenantId, period) ?? []);
  changed(tallies, marks);
  if (events.length === 0) {
    const isFailure = outcomes.every(({ status }) => status === "rejected");
    return isFailure ? { done: { outcomes }, isFailure } : { done: { outcomes }, resultOf: tenantId };
  }
  const commit = await commitOf(work, events, tallies, isoTime(nowMs));
  const mutations = [...commit.mutations, ...marks.map(({ mutation }) => mutation)];
  return { commit: { ...commit, mutations, audit: "none", attempts: ATTEMPTS, result: { outcomes } }, resultOf: tenantId };
}

/** More than usual: first events of a month and new groups of many senders meet in one record. */
const ATTEMPTS = 12;

export function unknownTenant(tenantId: string): Outcome {
  return rejected("/subject", errors.notFound("tenant", tenantId).message, "not_found");
}

/** The stored events, usage and groups in one read. Null if the tenant does not exist. */
async function readAll(work: UnitOfWork, tenantId: string, chunk: readonly Keyed[], bookings: readonly (Booking | FieldError)[]) {
  const places = new Map<string, Place>();
  for (const [i, booking] of bookings.entries()) {
    if ("message" in booking) continue;
    const place = placeOf(tenantId, (chunk[i] as Keyed).metric, booking.period);
    places.set(place.key, place);
  }
  const list = [...places.values()];
  const keys = [
    keyOf(tenantEntity, { id: tenantId }),
    ...chunk.map(({ id }) => keyOf(usageEvent, { id })),
    ...list.flatMap((place) => [place.key, groupsKey(place)]),
  ];
  const [tenant, ...entries] = await work.store.mget(keys);
  if (!tenant) return null;
  const [events, usage, groups] = [usageEvent, usageRecord, usageGroups].map((entity) => new Collection(entity, work.store)) as [
    Collection<typeof usageEvent>,
    Collection<typeof usageRecord>,
    Collection<typeof usageGroups>,
  ];
  const at = (i: number): Entry | null => entries[i] ?? null;
  const read = <T>(entry: Entry | null, of: (entry: Entry) => T): T | null => entry && of(entry);
  const tallies = list.map((place, i): [string, Tally] => {
    const first = chunk.length + 2 * i;
    return [place.key, new Tally(place, read(at(first), (e) => usage.read(e)), read(at(first + 1), (e) => groups.read(e)))];
  });
  return { events: chunk.map((_, i) => read(at(i), (e) => events.read(e))), tallies: new Map(tallies) };
}

function recordOf({ event, id, metric }: Keyed, booking: Booking, applied: boolean, now: string): UsageEvent {
  const { amount = 1, dimensions, userId, properties } = event.data;
  return {
    id,
    source: event.source,
    eventId: event.id,
    tenantId: event.subject,
    metric: metric.id,
    time: booking.time,
    amount,
    ...(userId === undefined ? {} : { userId }),
    ...(dimensions === undefined ? {} : { dimensions }),
    ...(properties === undefined ? {} : { properties }),
    period: booking.period,
    ...(booking.adjusts === undefined ? {} : { adjusts: booking.adjusts }),
    applied,
    counted: metric.kind === "counter" ? { [booking.period]: amount } : {},
    status: "counted",
    receivedAt: now,
  };
}

async function commitOf(work: UnitOfWork, events: readonly UsageEvent[], tallies: readonly Tally[], now: string) {
  const stored = new Collection(usageEvent, work.store);
  const counted = await Promise.all(tallies.map((tally) => countingOf(work, tally, now)));
  // Two reads may have seen two versions of one key. Both are checked, so that such a commit is refused.
  const checks = new Map<string, Check>(counted.flatMap((one) => one.checks).map((check) => [JSON.stringify(check), check]));
  const mutations: Mutation[] = counted.flatMap((one) => one.mutations);
  for (const event of events) {
    const set = stored.set(event);
    checks.set(set.key, { key: set.key, version: null });
    mutations.push(set);
  }
  return { checks: [...checks.values()], mutations };
}

/** The checks and writes of one month of one metric. Throws `not_found` if the tenant was deleted meanwhile. */
async function countingOf(work: UnitOfWork, tally: Tally, now: string) {
  const opening = tally.usage ? null : await openingOf(work, tally.place);
  if (!tally.usage && !opening) throw errors.notFound("tenant", tally.place.tenantId);
  return { checks: tally.checks(opening), mutations: tally.mutations(opening, now) };
}
