import { callJobs, JobRunning, type JobsFunction, lineOf } from "./job-calls.ts";

const EVERY_MS = 10_000;
/** The job that delivers events, which should not wait. */
const DELIVERY = { job: "webhooks", everyMs: 2_000 };
/** A call can wait for receivers after its run has ended, and the next run begins beside it. */
const MAX_CALLS = 10;

/**
 * Runs the due jobs of the local stack every 10 seconds, and the delivery of events every 2 seconds. Reports those that did something.
 * Returns a function that ends it.
 */
export function startScheduler(jobs: JobsFunction, say: (line: string) => void): () => Promise<void> {
  const stopped = new AbortController();
  const known = { lastProblem: "" };
  const calls = [{ job: null, everyMs: EVERY_MS }, DELIVERY].map(({ job, everyMs }) => {
    const running = new Set<Promise<void>>();
    const next = () => {
      if (running.size >= (job === null ? 1 : MAX_CALLS)) return;
      const call = tick({ ...jobs, signal: stopped.signal }, job, known, say).finally(() => running.delete(call));
      running.add(call);
    };
    const timer = setInterval(next, everyMs);
    next();
    return async () => {
      clearInterval(timer);
      await Promise.all(running);
    };
  });
  return async () => {
    // A run can take minutes. It continues after the next start, when its lease has run out.
    stopped.abort();
    await Promise.all(calls.map((end) => end()));
  };
}

async function tick(
  jobs: JobsFunction & { readonly signal: AbortSignal },
  job: string | null,
  known: { lastProblem: string },
  say: (line: string) => void,
): Promise<void> {
  try {
    for (const report of await callJobs(jobs, job)) {
      if (report.processed > 0 || report.errors.length > 0) say(`job ${lineOf(report)}`);
    }
    known.lastProblem = "";
  } catch (error) {
    if (jobs.signal.aborted || error instanceof JobRunning) return;
    const problem = error instanceof Error ? error.message : String(error);
    // A database that is away for an hour is one line, not 360.
    if (problem !== known.lastProblem) say(`the jobs do not run: ${problem}`);
    known.lastProblem = problem;
  }
}
