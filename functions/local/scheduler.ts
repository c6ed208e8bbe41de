import { callJobs, type JobsFunction, lineOf } from "./job-calls.ts";

const EVERY_MS = 10_000;

/** Runs the due jobs of the local stack every 10 seconds, and reports those that did something. Returns a function that ends it. */
export function startScheduler(jobs: JobsFunction, say: (line: string) => void): () => Promise<void> {
  let running: Promise<void> | null = null;
  let lastProblem = "";
  const stopped = new AbortController();
  const tick = async (): Promise<void> => {
    try {
      for (const report of await callJobs({ ...jobs, signal: stopped.signal }, null)) {
        if (report.processed > 0 || report.errors.length > 0) say(`job ${lineOf(report)}`);
      }
      lastProblem = "";
    } catch (error) {
      if (stopped.signal.aborted) return;
      const problem = error instanceof Error ? error.message : String(error);
      // A database that is away for an hour is one line, not 360.
      if (problem !== lastProblem) say(`the jobs do not run: ${problem}`);
      lastProblem = problem;
    }
  };
  const next = () => void (running ??= tick().finally(() => running = null));
  const timer = setInterval(next, EVERY_MS);
  next();
  return async () => {
    clearInterval(timer);
    // A run can take minutes. It continues after the next start, when its lease has run out.
    stopped.abort();
    await running;
  };
}
