import { Collection } from "../../core/collection.ts";
import { notesOf } from "../../core/notes.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { apiKey } from "./entity.ts";
import { lookUpsOf, withoutLookUps } from "./lookup.ts";
import { dueChange, scheduled } from "./rules.ts";

/** Does everything that is due for a key, one commit after the other. Each can be repeated. */
export async function handleDue(work: UnitOfWork, key: string): Promise<void> {
  const keys = new Collection(apiKey, work.store);
  for (let more = true; more;) {
    const { result } = await work.transact<{ readonly more: boolean }>(async () => {
      const before = await keys.get(key);
      if (!before) return { done: { more: false }, resultOf: null };
      const resultOf = before.tenantId ?? null;
      const now = work.now();
      const due = dueChange(before, now);
      if (!due) {
        // The key was used since: its disabling moves on.
        const after = scheduled(before);
        if (after.nextCheckAt === before.nextCheckAt) return { done: { more: false }, resultOf };
        return { commit: { changes: [{ entity: apiKey, before, after }], audit: "none", result: { more: false } }, resultOf };
      }
      const after = scheduled({ ...due.record, updatedAt: now });
      const change = { entity: apiKey, before, after };
      const { audit, event } = notesOf(due.action, before.id, change, { auditData: due.data, eventData: due.data });
      const mutations = [...withoutLookUps([due.retired]), ...lookUpsOf(work.store, after)];
      return { commit: { changes: [change], mutations, audit: [audit], events: [event], result: { more: true } }, resultOf };
    });
    more = result.more;
  }
}
