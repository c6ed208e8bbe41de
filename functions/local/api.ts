/** The Edge Function `api` on this machine: as it is deployed, and open to frontends on any local port. */
import process from "node:process";
import { systemClock } from "../../shared/kernel/clock.ts";
import { apiFrom } from "../api/start.ts";
import { allowLocalOrigins } from "./local-origins.ts";
import { serve } from "./runtime.ts";

const app = apiFrom(process.env, { clock: systemClock, fetch, write: (line) => console.log(line) });

if (app) serve(allowLocalOrigins((request) => app.fetch(request)));
else process.exitCode = 1;
