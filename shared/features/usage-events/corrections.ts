import { Collection } from "../../core/collection.ts";
import type { Decided } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { Mutation } from "../../kv/store.ts";
import { metricOf } from "../metrics/catalogue.ts";
import { usageRecord } from "../usage/entity.ts";
import { markMutation } from "../usage/marks.ts";
import { openingOf, type Place, placeOf } from "../usage/reads.ts";
import { belowZero, plus, settledLevel } from "../usage/rules.ts";
import { type UsageEvent, usageGroups } from "./entity.ts";
import { addEvent, corrected, type Correction, Sums } from "./rules.ts";
import { groupsKey } from "./tally.ts";

/** The amount that an event should have, and why. */
export interface CorrectionTo {
  readonly amount: number;
  readonly status: "corrected" | "voided";
  readonly reason: string;
}

/**
 * The event with another amount, and the commit that moves its usage and groups with it. Throws `invalid_transition` for an event that
 * was voided, `validation_failed` for one of a gauge, `usage_below_zero` if less is used in the month than what is subtracted.
 */
export async function correctionOf(
  work: UnitOfWork,
  event: UsageEvent,
  to: CorrectionTo,
): Promise<Decided<UsageEvent>> {
  const nowMs = work.context.clock.now();
  if (event.status === "voided") {
    if (to.status === "voided") return { record: event };
    throw errors.transition("voided", "corrected", [], "A usage event");
  }
  const metric = await metricOf(work, event.metric);
  if (metric.kind === "gauge") {
    const message = `belongs to the gauge ${metric.id}, which has another level since; record the right level of the gauge`;
    throw errors.validation([{ path: "/usageEventId", message, code: "not_a_counter" }]);
  }
  const change = corrected(event, to.amount, nowMs);
  const record = { ...event, status: to.status, reason: to.reason, counted: change?.counted ?? event.counted };
  if (!change) return { record };
  const place = placeOf(event.tenantId, metric, change.booking.period);
  const { checks, mutations } = await writesOf(work, place, event, change, isoTime(nowMs));
  return { record, checks, mutations, attempts: ATTEMPTS };
}

/** The decisions of a correction, which depends on what is reserved: every reservation changes that. */
const ATTEMPTS = 20;

async function writesOf(work: UnitOfWork, place: Place, event: UsageEvent, { by, booking }: Correction, now: string) {
  const sums = new Sums();
  addEvent(sums, booking, by, place.metric.resolution === "hour");
  const known = await new Collection(usageRecord, work.store).getMany([place.key]);
  const opening = known[0] ? null : await openingOf(work, place);
  const usage = known[0] ?? opening?.record;
  if (!usage) throw errors.notFound("tenant", place.tenantId);
  if (plus(settledLevel(usage), by) < 0) throw belowZero(place.metric.id, by);
  // What is held stays. If it changes before the commit, a bound refuses that, and the correction is decided again.
  const { reserved } = usage;
  const mutations: Mutation[] = [markMutation(work, place.tenantId, place.period), {
    op: "increment",
    key: place.key,
    add: by < 0 ? [...sums.additions({ min: reserved }), { path: ["reserved"], by: 0, max: reserved }] : sums.additions(),
    merge: { updatedAt: now },
    ...(opening ? { initial: { value: opening.record as JsonObject } } : {}),
  }];
  // The groups of a closed month stay, and those of another month do not have this event.
  const grouped = event.period === place.period ? Object.entries(event.dimensions ?? {}) : [];
  if (grouped.length > 0 && await isGrouped(work, place)) {
    const add = grouped.map(([name, value]) => ({ path: ["groups", name, value], by }));
    mutations.push({ op: "increment", key: groupsKey(place), add, merge: { updatedAt: now } });
  }
  return { checks: opening?.checks ?? [], mutations };
}

/** Whether the groups of the month are still there: retention may have deleted them. */
async function isGrouped(work: UnitOfWork, place: Place): Promise<boolean> {
  return (await new Collection(usageGroups, work.store).getMany([groupsKey(place)]))[0] !== null;
}
