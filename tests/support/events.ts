import type { UnitOfWork } from "../../shared/core/unit-of-work.ts";
import { nextEvents } from "../../shared/features/events/sequence.ts";

/** Numbers up to `limit` events in one commit, without deliveries. Returns how many. */
export async function numberSome(work: UnitOfWork, limit = 100): Promise<number> {
  const { result } = await work.transact(async () => {
    const { events, changes } = await nextEvents(work, limit);
    const result = { numbered: events.length };
    if (events.length === 0) return { done: result, resultOf: null };
    return { commit: { changes, audit: "none", result }, resultOf: null };
  });
  return result.numbered;
}

/** Numbers all events. */
export async function numberAll(work: UnitOfWork, limit = 100): Promise<void> {
  while (await numberSome(work, limit) > 0);
}
