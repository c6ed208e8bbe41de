import { Collection } from "../../core/collection.ts";
import { dueBacklog, duePage } from "../../core/due.ts";
import type { Job } from "../../core/job.ts";
import { notesOf } from "../../core/notes.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { type Webhook, webhook } from "./entity.ts";
import { dueChange, scheduled } from "./rules.ts";
import { openIfReadable, seal, UNREADABLE } from "./secret.ts";

/** Does everything that is due for the secrets of a webhook, one commit after the other. Each can be repeated. */
export async function handleDue(work: UnitOfWork, key: string): Promise<void> {
  const webhooks = new Collection(webhook, work.store);
  for (let more = true; more;) {
    const { result } = await work.transact<{ readonly more: boolean }>(async () => {
      const before = await webhooks.get(key);
      if (!before) return { done: { more: false }, resultOf: null };
      const resultOf = before.tenantId ?? null;
      const now = work.now();
      const due = dueChange(before, now);
      if (!due) return { done: { more: false }, resultOf };
      const kept = due.action === "webhook.secret_retired" ? await withoutPrevious(work, due.record) : due.record;
      const change = { entity: webhook, before, after: scheduled({ ...kept, updatedAt: now }) };
      const { audit, event } = notesOf(due.action, before.id, change, { auditData: due.data, eventData: due.data });
      return { commit: { changes: [change], audit: [audit], events: [event], attempts: ATTEMPTS, result: { more: true } }, resultOf };
    });
    more = result.more;
  }
}

/** Deliveries write the record too. */
const ATTEMPTS = 20;

/** A secret that cannot be read stays as it is: it signs nothing, and a rotation replaces it. */
async function withoutPrevious(work: UnitOfWork, record: Webhook): Promise<Webhook> {
  const found = await openIfReadable(work, record);
  if (!found) return record;
  const { previous: _, ...secrets } = found;
  return { ...record, sealedSecret: await seal(work, record.id, secrets) };
}

export const secretJob: Job = {
  name: "webhook-secrets",
  summary: "Reminds of webhook secrets that should be replaced, and removes replaced ones at the end of their overlap.",
  everySeconds: 60,
  uncounted: UNREADABLE,
  step: async (run) => {
    const { entries, cursor } = await duePage(run, webhook, "nextCheckAt");
    const items = entries.map(({ key, tenantId }) => ({ id: key, tenantId }));
    return { processed: await run.each(items, ({ id }) => handleDue(run.work, id)), cursor };
  },
  backlog: (work) => dueBacklog(work, webhook, "nextCheckAt"),
};
