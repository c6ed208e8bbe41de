import { dueBacklog, duePage } from "../../core/due.ts";
import type { Job } from "../../core/job.ts";
import { auditSink } from "./entity.ts";
import { sendNext } from "./send.ts";

const send: Job = {
  name: "audit-sinks",
  summary: "Sends audit entries to the receivers that want them.",
  everySeconds: 60,
  uncounted: ["root_key_unavailable"],
  step: async (run) => {
    const { entries, cursor } = await duePage(run, auditSink, "dueAt");
    const items = entries.map(({ value, tenantId }) => ({ id: String((value as { readonly id: string }).id), tenantId }));
    if (run.dryRun) return { processed: items.length, cursor };
    return { processed: await run.each(items, ({ id }) => sendNext(run.work, id)), cursor };
  },
  backlog: (work) => dueBacklog(work, auditSink, "dueAt"),
};

export const jobs: readonly Job[] = [send];
