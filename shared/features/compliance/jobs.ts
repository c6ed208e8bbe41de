import { Collection } from "../../core/collection.ts";
import type { Job } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { complianceRequest } from "./entity.ts";
import { Handler } from "./handler.ts";

/** Requests of one step of the job, the oldest first. */
const MAX_REQUESTS = 10;
/** Commits for one request in a step of the job. */
const STEPS = 20;
const WAITING = [{ field: "status", in: ["pending", "processing"] }, { field: "type", in: ["export"] }];

/** The requests that the program answers, the oldest first. */
async function waiting({ store }: UnitOfWork) {
  const orderBy = [{ field: "created", direction: "asc" }] as const;
  return (await new Collection(complianceRequest, store).list({ where: WAITING, orderBy, limit: MAX_REQUESTS })).records;
}

const compliance: Job = {
  name: "compliance",
  summary: "Answers the requests under data protection law that the program can answer: exports.",
  everySeconds: 60,
  uncounted: ["root_key_unavailable"],
  step: async (run) => {
    const found = await waiting(run.work);
    const handler = new Handler(run.work);
    const items = found.map(({ tenantId, id }) => ({ id: `compliance:${tenantId}:${id}`, tenantId }));
    const handled = await run.each(items, ({ id }) => handler.run(id, STEPS));
    return { processed: handled, cursor: handled === 0 || run.dryRun ? null : { goesOn: true }, report: { requests: found.length } };
  },
  backlog: async (work) => {
    const [[oldest], count] = await Promise.all([waiting(work), work.store.count({ entity: complianceRequest, where: WAITING })]);
    return { count, oldestAt: oldest?.created ?? null };
  },
};

export const jobs: readonly Job[] = [compliance];
