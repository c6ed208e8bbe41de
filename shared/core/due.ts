import { isoTime } from "../kernel/clock.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { AnyEntity } from "../kv/define.ts";
import type { Condition, Entry } from "../kv/store.ts";
import type { Backlog, JobRun } from "./job.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

/** A page of what is due, and where the next step of the run goes on. */
export interface DuePage {
  /** Not parsed: a record that does not match its declaration fails as one item, and the others are handled. */
  readonly entries: readonly Entry[];
  readonly cursor: JsonObject | null;
}

/** The instant of a run: what is due later is left to the next one. */
export function dueUntil({ work, cursor }: Pick<JobRun, "work" | "cursor">): string {
  return text(cursor?.["until"]) ?? work.now();
}

/**
 * The next page of the entries whose instant in `field` had come when the run began, the earliest first. A job that handles an entry
 * moves or removes the instant, or no longer matches the conditions in `also`. The cursor has the instant of the run, because a cursor of the store is bound to its conditions.
 */
export async function duePage(
  run: Pick<JobRun, "work" | "cursor" | "limit">,
  entity: AnyEntity,
  field: string,
  also: readonly Condition[] = [],
): Promise<DuePage> {
  const until = dueUntil(run);
  const after = text(run.cursor?.["after"]);
  const { entries, cursor } = await run.work.store.query({
    entity,
    where: [...also, dueBy(field, until)],
    orderBy: [{ field, direction: "asc" }],
    limit: run.limit,
    ...(after === undefined ? {} : { cursor: after }),
  });
  return { entries, cursor: cursor === null ? null : { until, after: cursor } };
}

/** The number of entries that are due, and the earliest instant. */
export async function dueBacklog(work: UnitOfWork, entity: AnyEntity, field: string, also: readonly Condition[] = []): Promise<Backlog> {
  const where = [...also, dueBy(field, work.now())];
  const [count, { entries: [first] }] = await Promise.all([
    work.store.count({ entity, where }),
    work.store.query({ entity, where, orderBy: [{ field, direction: "asc" }], limit: 1 }),
  ]);
  return { count, oldestAt: first ? (first.value as Readonly<Record<string, string>>)[field] ?? null : null };
}

/** At the instant or before. The end of a condition is exclusive. */
function dueBy(field: string, until: string) {
  return { field, to: isoTime(Date.parse(until) + 1) };
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
