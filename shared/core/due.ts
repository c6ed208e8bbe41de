import { isoTime } from "../kernel/clock.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { AnyEntity } from "../kv/define.ts";
import { Collection, type Stored } from "./collection.ts";
import type { Backlog, JobRun } from "./job.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

/** A page of the records that are due, and where the next step of the run goes on. */
export interface DuePage<E> {
  readonly records: readonly Stored<E>[];
  /** The instant of the run. */
  readonly until: string;
  readonly cursor: JsonObject | null;
}

/**
 * The next page of the records whose instant in `field` had come when the run began, the earliest first. A job that handles a record
 * moves or removes the instant. The cursor has the instant of the run, because a cursor of the store is bound to its conditions.
 */
export async function duePage<E extends AnyEntity>(
  { work, cursor, limit }: Pick<JobRun, "work" | "cursor" | "limit">,
  entity: E,
  field: string,
): Promise<DuePage<E>> {
  const until = text(cursor?.["until"]) ?? work.now();
  const after = text(cursor?.["after"]);
  const page = await new Collection(entity, work.store).list({
    where: [dueBy(field, until)],
    orderBy: [{ field, direction: "asc" }],
    limit,
    ...(after === undefined ? {} : { cursor: after }),
  });
  return { records: page.records, until, cursor: page.cursor === null ? null : { until, after: page.cursor } };
}

/** The number of records that are due, and the earliest instant. */
export async function dueBacklog<E extends AnyEntity>(work: UnitOfWork, entity: E, field: string): Promise<Backlog> {
  const where = [dueBy(field, work.now())];
  const [count, first] = await Promise.all([
    work.store.count({ entity, where }),
    new Collection(entity, work.store).list({ where, orderBy: [{ field, direction: "asc" }], limit: 1 }),
  ]);
  return { count, oldestAt: (first.records[0] as Record<string, string> | undefined)?.[field] ?? null };
}

/** At the instant or before. The end of a condition is exclusive. */
function dueBy(field: string, until: string) {
  return { field, to: isoTime(Date.parse(until) + 1) };
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
