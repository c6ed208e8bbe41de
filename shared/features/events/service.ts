import { Collection } from "../../core/collection.ts";
import { type OutboxEvent, outboxEvent } from "../../core/outbox-event.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { invalidCursor } from "../../kv/cursor.ts";
import type { Condition, Entry, QueryPage } from "../../kv/store.ts";
import { eventTypes, typesOf } from "./catalogue.ts";
import { cursorOf, type Place, placeOf } from "./cursor.ts";
import { type EventHead, eventHead } from "./entity.ts";
import { eventSchema } from "./event-schemas.ts";
import { type EventType, exampleEvent, isTenantScoped } from "./event-type.ts";
import { assertMayRead, matches, withheldFrom } from "./patterns.ts";
import { FIRST_INSTANT, HEAD_ID } from "./sequence.ts";
import { type EventPage, type EventTypeView, eventView, isNumbered, type NumberedEvent } from "./view.ts";

export interface EventQuery {
  /** The `nextCursor` of the previous page, or the id of an event. Default: from the oldest event that is kept. */
  readonly after?: string | undefined;
  /** Names of types, beginnings such as `tenant.*`, or `*`. */
  readonly types?: readonly string[] | undefined;
  /** 1–100. */
  readonly limit?: number | undefined;
  /** Only events of this tenant. A caller of a tenant always gets those of its tenant. */
  readonly tenantId?: string | null | undefined;
}

export const MAX_EVENTS = 100;
/** The numbers among which one request with a filter looks for events. The cursor then moves on, though there may be none. */
export const WINDOW = 50_000;
/** The number of an event that does not exist, or no longer. */
const UNKNOWN = -1;
/** How long before its deletion an event no longer begins the list: a new reader needs time to request the next page. */
const AHEAD_MS = 3_600_000;
const DAY_MS = 24 * 3_600_000;

/** The outgoing events in the order of their numbers, for polling, and their types. */
export class EventService {
  readonly #events: Collection<typeof outboxEvent>;

  constructor(private readonly work: UnitOfWork) {
    this.#events = new Collection(outboxEvent, work.store);
  }

  /**
   * The next events after a cursor. Because events are numbered after their commits, one after the other, no event ever appears before
   * the cursor. Types that the caller must not read are left out; a request that names one throws `insufficient_scope`. Throws
   * `invalid_cursor`, and `cursor_expired` if events after it may have been deleted, or do not exist any more.
   */
  async list({ after, types, limit = MAX_EVENTS, tenantId }: EventQuery = {}): Promise<EventPage> {
    assertMayRead(types ?? [], this.work.context.scopes);
    const withheld = withheldFrom(this.work.context.scopes);
    const filters = this.#filters(types, tenantId);
    // Before the events: those that are numbered meanwhile are then in the page, or after its cursor.
    const [start, head, queued] = await Promise.all([this.#start(after), this.#head(), this.#oldestQueued()]);
    const from = after === undefined ? await this.#ahead(start, head) : this.#assertKept(start, head);
    // The event that an id names may have got its number after the head was read.
    if (after?.startsWith("evt_") === false) assertReached(from, head);
    const isFiltered = filters.length > 0;
    const end = isFiltered ? Math.min(from.seq + WINDOW, head.seq) : head.seq;
    const page = await this.work.store.query({
      entity: outboxEvent,
      where: [{ field: "seq", from: from.seq + 1, ...(isFiltered ? { to: end + 1 } : {}) }, ...filters],
      orderBy: [{ field: "seq", direction: "asc" }],
      limit,
      walk: true,
    });
    const events = page.entries.flatMap((entry) => this.#read(entry) ?? []);
    const place = await this.#placeAfter(page, { from, end, head: head.seq, queued });
    const readable = events.filter(({ type }) => !withheld.some((pattern) => matches(pattern, type)));
    return { data: readable.map(eventView), nextCursor: cursorOf(place), hasMore: page.cursor !== null || end < head.seq };
  }

  /** By the field, not by the owner of the row: the last events of a deleted tenant are stored as the platform's. */
  #filters(types: readonly string[] | undefined, tenantId: string | null | undefined): Condition[] {
    const isOfOne = typeof tenantId === "string" && this.work.context.tenantId === null;
    return [
      ...(types === undefined || types.includes("*") ? [] : [{ field: "type", in: typesOf(types) }]),
      ...(isOfOne ? [{ field: "tenantId", in: [tenantId] }] : []),
    ];
  }

  /** Every type of event, or those that are selected. */
  types(patterns: readonly string[] = ["*"]): { readonly data: EventTypeView[] } {
    const selected = new Set(typesOf(patterns));
    return { data: eventTypes.filter(({ type }) => selected.has(type)).map(typeView) };
  }

  /** Where the next page begins: after the last event, or after all that have a number. */
  async #placeAfter(
    { entries, cursor }: QueryPage,
    { from, end, head, queued }: { readonly from: Place; readonly end: number; readonly head: number; readonly queued: string | null },
  ): Promise<Place> {
    const last = entries.at(-1)?.value as OutboxEvent | undefined;
    const seq = Math.max(from.seq, last?.seq ?? 0);
    if (cursor !== null && last) return { seq, since: last.createdAt };
    const next = end < head ? await this.#before([{ field: "seq", from: end + 1 }]) : null;
    const now = this.work.now();
    return next ?? { seq: Math.max(seq, head), since: queued !== null && queued < now ? queued : now };
  }

  async #start(after: string | undefined): Promise<Place> {
    if (after === undefined) return await this.#before([{ field: "seq", from: 1 }]) ?? { seq: 0, since: null };
    if (!after.startsWith("evt_")) return placeOf(after);
    const found = await this.#events.get(after);
    if (found && isNumbered(found)) return { seq: found.seq, since: found.createdAt };
    if (found) throw invalidCursor("names an event that has no number yet");
    const ms = Number(/^evt_(\d{1,14})_[0-9a-z]{1,64}$/.exec(after)?.[1] ?? NaN);
    return { seq: UNKNOWN, since: Number.isNaN(ms) ? null : isoTime(ms) };
  }

  /** Where a new reader begins, whose next request must still find the events that follow. */
  async #ahead(oldest: Place, { seq, keptDays }: Pick<EventHead, "seq" | "keptDays">): Promise<Place> {
    const from = isoTime(this.work.context.clock.now() - keptDays * DAY_MS + AHEAD_MS);
    if (oldest.since === null || oldest.since >= from) return oldest;
    return await this.#before([{ field: "seq", from: 1 }, { field: "createdAt", from }]) ?? { seq, since: null };
  }

  /** The place before the first of these events; null if there is none. */
  async #before(where: readonly Condition[]): Promise<Place | null> {
    const orderBy = [{ field: "seq", direction: "asc" as const }];
    // Beside another condition, the first of the sequence may be far from its beginning.
    const walk = where.length === 1;
    const { entries: [first] } = await this.work.store.query({ entity: outboxEvent, where, orderBy, limit: 1, walk });
    const event = first?.value as OutboxEvent | undefined;
    return event?.seq === undefined ? null : { seq: event.seq - 1, since: event.createdAt };
  }

  async #head(): Promise<Pick<EventHead, "seq" | "keptDays">> {
    return await new Collection(eventHead, this.work.store).get(HEAD_ID) ?? { seq: 0, keptDays: outboxEvent.retention?.days ?? 30 };
  }

  /** When the oldest event without a number was created; null if every event has one. */
  async #oldestQueued(): Promise<string | null> {
    const { entries: [first] } = await this.work.store.query({
      entity: outboxEvent,
      where: [{ field: "queuedAt", from: FIRST_INSTANT }],
      orderBy: [{ field: "queuedAt", direction: "asc" }],
      limit: 1,
      walk: true,
    });
    return (first?.value as OutboxEvent | undefined)?.createdAt ?? null;
  }

  /** Throws `cursor_expired` if an event after the cursor can have been deleted, or the event that it names. */
  #assertKept(place: Place, { seq: head, keptDays }: Pick<EventHead, "seq" | "keptDays">): Place {
    const { seq, since } = place;
    const kept = isoTime(this.work.context.clock.now() - keptDays * DAY_MS);
    if (since === null || since >= kept || seq >= head) {
      if (seq === UNKNOWN) throw invalidCursor("names no event that you can read");
      return place;
    }
    const message = `Events are kept for ${keptDays} days, and the cursor is from ${since}. Read the present state of the records that ` +
      "you need, then start again without a cursor.";
    throw new InnkeepError("cursor_expired", message);
  }

  #read(entry: Entry): NumberedEvent | null {
    const event = this.#events.read(entry);
    return isNumbered(event) ? event : null;
  }
}

/** Throws `cursor_expired` for a number that no event has had: the database was restored to an instant before the cursor. */
function assertReached({ seq }: Place, { seq: head }: Pick<EventHead, "seq">): void {
  if (seq <= head) return;
  const message = `The cursor is at event ${seq}, and the last one is ${head}: the database was restored from a backup. Read the present ` +
    "state of the records that you need, then start again without a cursor.";
  throw new InnkeepError("cursor_expired", message);
}

/** Made once, because the schemas of all types take a part of a second. */
const views = new Map<EventType, EventTypeView>();

function typeView(of: EventType): EventTypeView {
  const { type, description } = of;
  const view = views.get(of) ?? {
    type,
    description,
    tenantScoped: isTenantScoped(of),
    jsonSchema: eventSchema(of) as EventTypeView["jsonSchema"],
    examples: [exampleEvent(of)],
  };
  views.set(of, view);
  return view;
}
