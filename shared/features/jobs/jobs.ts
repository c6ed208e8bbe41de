import type { Job, JobRun, JobStep } from "../../core/job.ts";

/** Deletes entries whose `expiresAt` has passed. Reads do not return them before either. */
const expire: Job = {
  name: "expire",
  summary: "Deletes expired entries.",
  everySeconds: 300,
  step: async ({ work, limit, dryRun }: JobRun): Promise<JobStep> => {
    // The number of expired entries is not known before: a dry run reports none.
    const processed = dryRun ? 0 : await work.store.sweep(limit);
    return { processed, cursor: processed < limit ? null : {} };
  },
};

export const jobs: readonly Job[] = [expire];
