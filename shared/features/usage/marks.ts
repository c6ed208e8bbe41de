import { Collection } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import type { Mutation } from "../../kv/store.ts";
import { usageChange } from "./entity.ts";
import { Windows } from "./windows.ts";

/** How long a mark covers the counts of the process that wrote it. */
export const WINDOW_MS = 10_000;
/** A mark outlives its window by the longest deadline of a store call, 2 minutes, and by 5 minutes that clocks may differ. */
const GRACE_MS = 420_000;
/** The longest time from a mark to its end, on any clock. */
export const REACH_MS = WINDOW_MS + 2 * GRACE_MS;
/** The last marks of tenants and months. Without its window, a count writes a mark that was not needed. */
const windows = new Windows(WINDOW_MS);

/** A mark that a count has to write in its commit. */
export interface Mark {
  readonly mutation: Extract<Mutation, { op: "set" }>;
  /** Call it once the commit has succeeded. Then the counts of the next 10 seconds need no mark. */
  readonly written: () => void;
}

/**
 * The mark by which the job `usage` finds a change of usage. Every commit that changes usage contains it. Null if this process has
 * written it within the last 10 seconds.
 */
export function markFor(work: UnitOfWork, tenantId: string, period: string): Mark | null {
  const nowMs = work.context.clock.now();
  const name = `${tenantId}:${period}`;
  if (windows.covers(work.platform, name, nowMs)) return null;
  return {
    mutation: markAt(work, tenantId, period, nowMs + WINDOW_MS + GRACE_MS),
    written: () => windows.note(work.platform, name, nowMs),
  };
}

/** The mark of a change that is not a count, such as of a limit. It is always written. */
export function markMutation(work: UnitOfWork, tenantId: string, period: string): Mutation {
  return markAt(work, tenantId, period, work.context.clock.now() + WINDOW_MS + GRACE_MS);
}

function markAt(work: UnitOfWork, tenantId: string, period: string, untilMs: number) {
  return new Collection(usageChange, work.store).set({ tenantId, period, until: isoTime(untilMs) });
}
