import { Collection, type Stored } from "../../core/collection.ts";
import { outboxEvent } from "../../core/outbox-event.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { type Entry, LIMITS, type ListPage, type Query } from "../../kv/store.ts";
import { isoTime } from "../../kernel/clock.ts";
import { policy } from "../retention/entity.ts";
import { keepRules } from "../retention/rules.ts";
import { type EventHead, eventHead } from "./entity.ts";
import type { NumberedEvent } from "./view.ts";

/** The id of the only record of {@link eventHead}. */
export const HEAD_ID = "current";
/** Events read for one that is numbered. Events whose clocks differ are put in order among those that were read. */
const READ_FACTOR = 2;
/** Pages that are read for one batch. More than one is needed only for events that do not match their declaration. */
const MAX_PAGES = 20;
/** Events are numbered in the order of their commits, which differs from that of their instants by less than this. */
const DISORDER_MS = 600_000;

export interface NextEvents {
  /** With `seq` and `recordVersion` and without `queuedAt`, in the order of their numbers. Not yet stored. */
  readonly events: readonly NumberedEvent[];
  /** The changes that store the events and the head. They must be part of one commit. */
  readonly changes: readonly Change[];
  /** Rows that do not match their declaration. They get no number. */
  readonly invalid: readonly string[];
}

/**
 * The next events, with the numbers that follow the head. The commit of `changes` checks the head, so two processes cannot give the
 * same number. An event that is committed later gets a later number: a reader that continues after a number misses none.
 * The commit writes `events.length` + 1 keys; above 200 keys the database locks whole families.
 */
export async function nextEvents(work: UnitOfWork, limit: number): Promise<NextEvents> {
  const outbox = new Collection(outboxEvent, work.store);
  const [head, { valid, invalid }] = await Promise.all([new Collection(eventHead, work.store).get(HEAD_ID), queued(work, limit)]);
  const found = valid.toSorted(byCommit).map((entry) => outbox.read(entry)).slice(0, limit);
  if (found.length === 0) return { events: [], changes: [], invalid };
  const before = head?.seq ?? 0;
  const events = found.map((event, i) => numbered(event, before + i + 1));
  const after: EventHead = { id: HEAD_ID, seq: before + events.length, keptDays: await keptDays(work), updatedAt: work.now() };
  return {
    events,
    changes: [
      ...found.map((event, i): Change => ({ entity: outboxEvent, before: event, after: events[i] ?? null })),
      { entity: eventHead, before: head, after },
    ],
    invalid,
  };
}

/** The events that have waited longest. Those that do not match their declaration stay where they are, so they must not fill the page. */
async function queued(work: UnitOfWork, limit: number): Promise<{ readonly valid: readonly Entry[]; readonly invalid: readonly string[] }> {
  const outbox = new Collection(outboxEvent, work.store);
  const [valid, invalid]: [Entry[], string[]] = [[], []];
  let after: string | null = null;
  for (let page = 0; page < MAX_PAGES; page++) {
    const { entries, cursor }: ListPage = await work.store.query({
      entity: outboxEvent,
      orderBy: [{ field: "queuedAt", direction: "asc" }],
      where: [{ field: "queuedAt", from: FIRST_INSTANT }],
      limit: Math.min(READ_FACTOR * limit, LIMITS.pageEntries),
      walk: true,
      ...(after === null ? {} : { cursor: after }),
    });
    for (const entry of entries) {
      if (outbox.readIfValid(entry)) valid.push(entry);
      else invalid.push(entry.key);
    }
    if (cursor === null || valid.length >= limit) break;
    after = cursor;
  }
  return { valid, invalid };
}

/** The number of events without a number, and the instant of the oldest. */
export async function unnumbered(work: UnitOfWork): Promise<{ readonly count: number; readonly oldestAt: string | null }> {
  const where = [{ field: "queuedAt", from: FIRST_INSTANT }];
  const [count, { entries: [first] }] = await Promise.all([
    work.store.count({ entity: outboxEvent, where }),
    work.store.query({ entity: outboxEvent, where, orderBy: [{ field: "queuedAt", direction: "asc" }], limit: 1, walk: true }),
  ]);
  return { count, oldestAt: first ? (first.value as Readonly<Record<string, string>>)["queuedAt"] ?? null : null };
}

/** The number of an event before all that happened at `since` or later; 0 if there is none. Events without a number are passed over. */
export async function numberBefore(work: UnitOfWork, since: string, scope: Pick<Query, "scope"> = {}): Promise<number> {
  const { records: [last] } = await new Collection(outboxEvent, work.store).list({
    ...scope,
    where: [{ field: "createdAt", to: isoTime(Date.parse(since) - DISORDER_MS) }, { field: "seq", from: 1 }],
    orderBy: [{ field: "createdAt", direction: "desc" }],
    limit: 1,
    walk: true,
  });
  return last?.seq ?? 0;
}

/** Before every instant: the condition selects the events that have the field. */
export const FIRST_INSTANT = "0000-01-01T00:00:00.000Z";

function numbered(event: Stored<typeof outboxEvent>, seq: number): NumberedEvent {
  const { version, queuedAt: _, ...rest } = event;
  return { ...rest, seq, recordVersion: version };
}

/** Versions increase with each commit on the same record. The events of one commit have one version and stay in their order. */
function byCommit(a: Entry, b: Entry): number {
  return Number(a.version) - Number(b.version) || positionOf(a) - positionOf(b) || (a.key < b.key ? -1 : 1);
}

function positionOf({ value }: Entry): number {
  const { position } = value as { readonly position?: unknown };
  return typeof position === "number" ? position : 0;
}

/** The days after which events may be deleted: those of the shortest rule in force, whoever it is for. */
async function keptDays(work: UnitOfWork): Promise<number> {
  const { records } = await new Collection(policy, work.store).list({
    where: [{ field: "type", in: [outboxEvent.name] }, { field: "enabled", in: [true] }],
    limit: LIMITS.pageEntries,
  });
  return Math.min(...keepRules([outboxEvent], records).map(({ days }) => days));
}
