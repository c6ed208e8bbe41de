/**
 * The function `jobs` for `deno serve`, with a clock that is CLOCK_AHEAD_MS ahead: a test that waits for a lease to end starts the
 * next process later on its clock.
 */
import process from "node:process";
import { jobsFrom, standardLog } from "../../functions/jobs/start.ts";
import type { Files } from "../../shared/ports.ts";

const { Deno } = globalThis as unknown as { readonly Deno: Files };
const aheadMs = Number(process.env["CLOCK_AHEAD_MS"] ?? 0);
const clock = { now: () => Date.now() + aheadMs };
const jobs = jobsFrom(process.env, { clock, fetch, files: Deno, write: standardLog(globalThis, clock, (line) => console.log(line)) });
if (!jobs) process.exit(1);

export default { fetch: (request: Request) => jobs.fetch(request) };
