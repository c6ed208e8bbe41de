import type { Job } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { ageMs, overdueSeconds } from "./rules.ts";
import { Schedules } from "./schedules.ts";

/** How late the jobs are, by their schedules. */
export interface JobsLateness {
  /** Of the job that is latest, in seconds; 0 if none is late. */
  readonly ageSeconds: number;
  /** The names of the jobs that are overdue. */
  readonly overdue: readonly string[];
}

/** How late the jobs are, with one read. Jobs that have never run count as not late. */
export async function latenessOf(work: UnitOfWork): Promise<JobsLateness> {
  // Those of the features, or of the container's options: both are declared as `Job`.
  const jobs = await work.platform.jobs() as readonly Job[];
  const schedules = await new Schedules(work).ofJobs(jobs);
  const nowMs = work.context.clock.now();
  const ages = jobs.map((job, i) => {
    const at = schedules[i];
    return { job, ageSeconds: at ? Math.floor(ageMs(at, nowMs) / 1_000) : 0 };
  });
  return {
    ageSeconds: Math.max(0, ...ages.map(({ ageSeconds }) => ageSeconds)),
    overdue: ages.filter(({ job, ageSeconds }) => ageSeconds >= overdueSeconds(job)).map(({ job }) => job.name),
  };
}
