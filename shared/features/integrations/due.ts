import { Collection } from "../../core/collection.ts";
import { notesOf } from "../../core/notes.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { integration } from "./entity.ts";
import { dueChange } from "./rules.ts";

/** Does what is due for the credentials of an integration. It can be repeated. */
export async function handleDue(work: UnitOfWork, key: string): Promise<void> {
  const integrations = new Collection(integration, work.store);
  await work.transact(async () => {
    const before = await integrations.get(key);
    const now = work.now();
    const due = before && dueChange(before, now);
    if (!due) return { done: {}, resultOf: before?.tenantId ?? null };
    const { version: _, ...record } = due.record as typeof before;
    const change = { entity: integration, before, after: { ...record, updatedAt: now } };
    const { audit, event } = notesOf(due.action, before.id, change, { auditData: due.data, eventData: due.data });
    return { commit: { changes: [change], audit: [audit], events: [event], result: {} }, resultOf: before.tenantId };
  });
}
