import { dueBacklog, duePage } from "../../core/due.ts";
import type { Job } from "../../core/job.ts";
import { refreshEntitlements } from "./changes.ts";
import { entitlements } from "./entity.ts";
import { entitlementsKey } from "./reads.ts";

const expired: Job = {
  name: "entitlements",
  summary: "Writes a tenant's entitlements, usage limits and an event when a grant has expired.",
  everySeconds: 60,
  step: async (run) => {
    const { records, cursor } = await duePage(run, entitlements, "nextExpiryAt");
    const items = records.map(({ tenantId }) => ({ id: entitlementsKey(tenantId), tenantId }));
    return { processed: await run.each(items, ({ tenantId }) => refreshEntitlements(run.work, tenantId)), cursor };
  },
  backlog: (work) => dueBacklog(work, entitlements, "nextExpiryAt"),
};

export const jobs: readonly Job[] = [expired];
