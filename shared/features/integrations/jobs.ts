import { dueBacklog, duePage } from "../../core/due.ts";
import type { Job } from "../../core/job.ts";
import { handleDue } from "./due.ts";
import { integration } from "./entity.ts";

const due: Job = {
  name: "integrations",
  summary: "Reminds of credentials of integrations that expire, and asks for new ones when they have expired.",
  everySeconds: 60,
  step: async (run) => {
    const { entries, cursor } = await duePage(run, integration, "nextCheckAt");
    const items = entries.map(({ key, tenantId }) => ({ id: key, tenantId }));
    return { processed: await run.each(items, ({ id }) => handleDue(run.work, id)), cursor };
  },
  backlog: (work) => dueBacklog(work, integration, "nextCheckAt"),
};

export const jobs: readonly Job[] = [due];
