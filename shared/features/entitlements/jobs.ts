import { dueBacklog, duePage } from "../../core/due.ts";
import type { Job } from "../../core/job.ts";
import { refreshEntitlements } from "./changes.ts";
import { entitlements } from "./entity.ts";

const expired: Job = {
  name: "entitlements",
  summary: "Writes a tenant's entitlements, usage limits and an event when a grant has expired.",
  everySeconds: 60,
  step: async (run) => {
    const { entries, cursor } = await duePage(run, entitlements, "nextExpiryAt");
    const items = entries.map(({ key, tenantId }) => ({ id: key, tenantId }));
    return { processed: await run.each(items, ({ id }) => refreshEntitlements(run.work, id)), cursor };
  },
  backlog: (work) => dueBacklog(work, entitlements, "nextExpiryAt"),
};

export const jobs: readonly Job[] = [expired];
