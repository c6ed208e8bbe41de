import type { Job, JobRun, JobStep } from "../../core/job.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { Cleanup, EVERY_SECONDS } from "./cleanup.ts";
import { reportOf, type Task } from "./rules.ts";

const cleanup: Job = {
  name: "cleanup",
  summary: "Deletes expired entries, and records whose retention has ended. Adds up the shards of the rollups.",
  everySeconds: EVERY_SECONDS,
  step: async ({ work, limit, dryRun, cursor }: JobRun): Promise<JobStep> => {
    const run = new Cleanup(work, limit, dryRun);
    // The job's own cursor: the tasks as the previous step left them.
    const before = cursor?.["tasks"] as unknown as readonly Task[] | undefined ?? await run.tasks();
    let tasks = await run.step(before);
    // A dry run saves no cursor. A step of it counts in the database, which is one query for most tasks.
    while (dryRun && tasks?.some(({ isDone }) => !isDone)) tasks = await run.step(tasks);
    const processed = deletedBy(tasks ?? before) - deletedBy(before);
    const report = { tasks: reportOf(tasks ?? before) as unknown as JsonObject[] };
    return { processed, cursor: tasks && { tasks }, report };
  },
};

function deletedBy(tasks: readonly Task[]): number {
  return tasks.reduce((sum, { deleted }) => sum + deleted, 0);
}

export const jobs: readonly Job[] = [cleanup];
