/**
 * The Edge Functions `api` and `jobs` of the local stack: the deployed programs with the local pages, callable by frontends on any
 * local port.
 */
import process from "node:process";
import { systemClock } from "../../shared/kernel/clock.ts";
import { parseUrl } from "../../shared/kernel/web-url.ts";
import { apiFrom, standardLog } from "../api/start.ts";
import { jobsFrom } from "../jobs/start.ts";
import { allowLocalOrigins } from "./local-origins.ts";
import { pageData } from "./page-data.ts";
import { withPages } from "./pages.ts";
import { fileSystem, serve, sockets } from "./runtime.ts";

const write = standardLog(globalThis, systemClock, (line) => console.log(line));
const surroundings = { clock: systemClock, fetch, files: fileSystem(), sockets: sockets(), write };
const app = apiFrom(process.env, surroundings);
const jobs = app && jobsFrom(process.env, surroundings);

if (app && jobs) {
  const api = withPages(allowLocalOrigins((request) => app.fetch(request)), pageData(process.env["LOCAL_DATA_DIR"] ?? ""));
  serve((request) => /^\/jobs(\/|$)/.test(parseUrl(request.url)?.pathname ?? "") ? jobs.fetch(request) : api(request));
} else process.exitCode = 1;
