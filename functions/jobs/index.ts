/** The Edge Function `jobs`: configuration, scheduler, server. */
import { systemClock } from "../../shared/kernel/clock.ts";
import { jobsFrom, standardLog } from "./start.ts";

const write = standardLog(globalThis, systemClock, (line) => console.log(line));
const jobs = jobsFrom(Deno.env.toObject(), { clock: systemClock, fetch, files: Deno, sockets: Deno, write });

if (jobs) Deno.serve((request) => jobs.fetch(request));
else Deno.exitCode = 1;
