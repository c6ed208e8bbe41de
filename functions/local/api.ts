/** The Edge Function `api` of the local stack: the deployed program with the local pages, callable by frontends on any local port. */
import process from "node:process";
import { systemClock } from "../../shared/kernel/clock.ts";
import { apiFrom, standardLog } from "../api/start.ts";
import { allowLocalOrigins } from "./local-origins.ts";
import { pageData } from "./page-data.ts";
import { withPages } from "./pages.ts";
import { serve } from "./runtime.ts";

const write = standardLog(globalThis, systemClock, (line) => console.log(line));
const app = apiFrom(process.env, { clock: systemClock, fetch, write });

if (app) serve(withPages(allowLocalOrigins((request) => app.fetch(request)), pageData(process.env["LOCAL_DATA_DIR"] ?? "")));
else process.exitCode = 1;
