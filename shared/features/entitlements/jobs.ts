import { Collection } from "../../core/collection.ts";
import type { Job, JobRun, JobStep } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { refreshEntitlements } from "./changes.ts";
import { entitlements } from "./entity.ts";

const expired: Job = {
  name: "entitlements",
  summary: "Writes a tenant's entitlements, usage limits and an event when a grant has expired.",
  everySeconds: 60,
  step: async ({ work, limit, cursor, each }: JobRun): Promise<JobStep> => {
    const after = cursor?.["after"];
    const page = await work.store.query({
      ...due(work),
      orderBy: [{ field: "nextExpiryAt", direction: "asc" }],
      limit,
      ...(typeof after === "string" ? { cursor: after } : {}),
    });
    const items = page.entries.map(({ key, tenantId }) => ({ id: key, tenantId: tenantId ?? "" }));
    const processed = await each(items, ({ tenantId }) => refreshEntitlements(work, tenantId));
    return { processed, cursor: page.cursor === null ? null : { after: page.cursor } };
  },
  backlog: async (work) => {
    const [first] = (await new Collection(entitlements, work.store).list({
      where: due(work).where,
      orderBy: [{ field: "nextExpiryAt", direction: "asc" }],
      limit: 1,
    })).records;
    return { count: first ? await work.store.count(due(work)) : 0, oldestAt: first?.nextExpiryAt ?? null };
  },
};

/** The entitlements with a grant that expires at the present instant or before. */
function due(work: UnitOfWork) {
  const to = isoTime(work.context.clock.now() + 1);
  return { entity: entitlements, where: [{ field: "nextExpiryAt", to }] } as const;
}

export const jobs: readonly Job[] = [expired];
