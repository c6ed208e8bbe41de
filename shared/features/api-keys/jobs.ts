import { dueBacklog, duePage } from "../../core/due.ts";
import type { Job } from "../../core/job.ts";
import { handleDue } from "./due.ts";
import { apiKey } from "./entity.ts";

const due: Job = {
  name: "api-keys",
  summary: "Reminds of API keys that expire, reports those that have expired, disables unused ones and removes replaced secrets.",
  everySeconds: 60,
  step: async (run) => {
    const { entries, cursor } = await duePage(run, apiKey, "nextCheckAt");
    const items = entries.map(({ key, tenantId }) => ({ id: key, tenantId }));
    return { processed: await run.each(items, ({ id }) => handleDue(run.work, id)), cursor };
  },
  backlog: (work) => dueBacklog(work, apiKey, "nextCheckAt"),
};

export const jobs: readonly Job[] = [due];
