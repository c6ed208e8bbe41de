import { Collection } from "../../core/collection.ts";
import type { Job } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { planMigration } from "./entity.ts";
import { dueAt } from "./rules.ts";
import { MigrationStep } from "./wave.ts";

const MAX_RUNNING = 100;

/** The running migrations, the oldest first. */
async function running({ store }: UnitOfWork) {
  const where = [{ field: "status", in: ["running"] }];
  const orderBy = [{ field: "createdAt", direction: "asc" }] as const;
  return (await new Collection(planMigration, store).list({ where, orderBy, limit: MAX_RUNNING })).records;
}

const migrations: Job = {
  name: "plan-migrations",
  summary: "Moves the subscribers of running plan migrations, wave by wave.",
  everySeconds: 60,
  step: async (run) => {
    const due = (await running(run.work)).filter((migration) => dueAt(migration) <= run.work.now());
    const { after = "", hasWorked = false } = run.cursor ?? {};
    // One step of each in turn, until none of them has anything to do.
    const next = due.find(({ id }) => id > String(after));
    const migration = next ?? (hasWorked ? due[0] : undefined);
    if (!migration) return { processed: 0, cursor: null };
    const processed = await new MigrationStep(run.work).run(migration, run);
    const isBusy = !run.dryRun && (processed > 0 || (next !== undefined && hasWorked === true));
    return { processed, cursor: { after: migration.id, hasWorked: isBusy }, report: { steps: 1 } };
  },
  backlog: async (work) => {
    const found = await running(work);
    const due = found.map(dueAt).filter((at) => at <= work.now()).toSorted();
    return { count: found.reduce((sum, { waiting }) => sum + waiting, 0), oldestAt: due[0] ?? null };
  },
};

export const jobs: readonly Job[] = [migrations];
