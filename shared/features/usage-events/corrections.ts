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
import { belowZero } from "../usage/rules.ts";
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
 * was voided, `validation_failed` for one of a gauge, `usage_below_zero` if the month has less than what is subtracted.
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
  const refusal = belowZero(metric.id, change.by);
  const { checks, mutations } = await writesOf(work, place, event, change, isoTime(nowMs));
  return { record, checks, mutations, refuse: (_, reason) => reason === "bounds" ? refusal : undefined };
}

async function writesOf(work: UnitOfWork, place: Place, event: UsageEvent, { by, booking }: Correction, now: string) {
  const sums = new Sums();
  addEvent(sums, booking, by, place.metric.resolution === "hour");
  const known = await new Collection(usageRecord, work.store).getMany([place.key]);
  const opening = known[0] ? null : await openingOf(work, place);
  if (!known[0] && !opening) throw errors.notFound("tenant", place.tenantId);
  const mutations: Mutation[] = [markMutation(work, place.tenantId, place.period), {
    op: "increment",
    key: place.key,
    add: sums.additions({ min: 0 }),
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
