import { Collection } from "../../core/collection.ts";
import type { Job } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { auditExport } from "./entity.ts";
import { ExportSteps } from "./steps.ts";

/** Exports of one step of the job, the oldest first. */
const MAX_EXPORTS = 10;
/** Commits for one export in a step of the job. */
const STEPS = 20;
const WAITING = [{ field: "status", in: ["queued", "running"] }];

async function waiting({ store }: UnitOfWork) {
  const orderBy = [{ field: "createdAt", direction: "asc" }] as const;
  return (await new Collection(auditExport, store).list({ where: WAITING, orderBy, limit: MAX_EXPORTS })).records;
}

const auditExports: Job = {
  name: "audit-exports",
  summary: "Writes the exports of audit entries.",
  everySeconds: 60,
  uncounted: ["root_key_unavailable"],
  step: async (run) => {
    const found = await waiting(run.work);
    const steps = new ExportSteps(run.work);
    const items = found.map(({ id, tenantId = null }) => ({ id, tenantId }));
    const handled = await run.each(items, ({ id }) => steps.run(id, STEPS));
    return { processed: handled, cursor: handled === 0 || run.dryRun ? null : { goesOn: true }, report: { exports: found.length } };
  },
  backlog: async (work) => {
    const [[oldest], count] = await Promise.all([waiting(work), work.store.count({ entity: auditExport, where: WAITING })]);
    return { count, oldestAt: oldest?.createdAt ?? null };
  },
};

export const jobs: readonly Job[] = [auditExports];
