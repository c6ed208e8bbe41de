import { Collection } from "../../core/collection.ts";
import { outboxEvent } from "../../core/outbox-event.ts";
import { addDays } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { LIMITS } from "../../kv/store.ts";
import { numberBefore } from "../events/sequence.ts";
import { isNumbered, type NumberedEvent } from "../events/view.ts";
import { delivery, type Gap, type Webhook } from "./entity.ts";
import { deliveryKey, receives } from "./matching.ts";

/** An event happens at most so long before the last attempt to deliver it, which is about 85 hours after the first one. */
const LONGEST_DAYS = 4;
/** A gap is counted up to here. */
const MAX_COUNTED = 1_000;
const MAX_COUNTED_PAGES = 4;

/** Events that happened at `since` or later, after the event number `after`. */
export interface MissingRange {
  readonly since: string;
  readonly after: number;
}

export interface MissingPage {
  /** Events that the webhook should have got and has no delivery of, in the order of their numbers. */
  readonly events: readonly NumberedEvent[];
  /** The number of events that were looked at. */
  readonly examined: number;
  /** Where the next page goes on; null at the end. */
  readonly after: number | null;
}

/** One page of what a webhook lacks, at most `limit` events. Events without a number are not included: they are still to be delivered. */
export async function missingPage(
  work: UnitOfWork,
  webhook: Pick<Webhook, "id" | "tenantId" | "events" | "withheld">,
  { since, after }: MissingRange,
  limit: number,
): Promise<MissingPage> {
  const { records } = await new Collection(outboxEvent, work.store).list({
    ...scopeOf(work, webhook),
    where: [{ field: "seq", from: after + 1 }, { field: "createdAt", from: since }],
    orderBy: [{ field: "seq", direction: "asc" }],
    limit: LIMITS.pageEntries,
    walk: true,
  });
  const wanted = records.flatMap((event) => isNumbered(event) && receives(webhook, event) ? [event as NumberedEvent] : []);
  const keys = wanted.map(({ id }) => deliveryKey(webhook.id, id) ?? "");
  const found = await new Collection(delivery, work.store).getMany(keys);
  const events = wanted.filter((_, i) => found[i] === null);
  const last = events[limit - 1];
  if (last && events.length > limit) {
    return { events: events.slice(0, limit), examined: records.findIndex(({ id }) => id === last.id) + 1, after: last.seq };
  }
  const isEnd = records.length < LIMITS.pageEntries;
  return { events, examined: records.length, after: isEnd ? null : records.at(-1)?.seq ?? null };
}

/** Where the first page begins. */
export async function beginningOf(work: UnitOfWork, webhook: Pick<Webhook, "tenantId">, since: string): Promise<number> {
  return await numberBefore(work, since, scopeOf(work, webhook));
}

/** What a webhook lacks since it began to fail or was disabled. Only the first events are looked at. */
export async function gapOf(work: UnitOfWork, webhook: Webhook, start: string): Promise<Gap> {
  const ofFailed = [{ field: "webhookId", in: [webhook.id] }, { field: "status", in: ["failed"] }];
  const { records: [first] } = await new Collection(delivery, work.store).list({
    where: [...ofFailed, { field: "timestamp", from: addDays(start, -LONGEST_DAYS) }],
    orderBy: [{ field: "timestamp", direction: "asc" }],
    limit: 1,
    walk: true,
  });
  const since = first && first.timestamp < start ? first.timestamp : start;
  const [failed, before] = await Promise.all([
    work.store.count({ entity: delivery, where: [...ofFailed, { field: "timestamp", from: since }], upTo: MAX_COUNTED }),
    beginningOf(work, webhook, since),
  ]);
  let missing = 0;
  let after: number | null = before;
  for (let page = 0; page < MAX_COUNTED_PAGES && after !== null && missing < MAX_COUNTED; page++) {
    const next: MissingPage = await missingPage(work, webhook, { since, after }, MAX_COUNTED - missing);
    missing += next.events.length;
    after = next.after;
  }
  return { since, failed, missing, isComplete: after === null && failed < MAX_COUNTED };
}

/** A tenant's webhook gets its tenant's events, and one of the platform those of all. A bound caller's store contains only its tenant's. */
function scopeOf({ context }: UnitOfWork, { tenantId }: Pick<Webhook, "tenantId">): { readonly scope?: string } {
  return context.tenantId !== null || tenantId === undefined ? {} : { scope: tenantId };
}
