/** The Edge Function `api`: configuration, container, app, server. */
import { systemClock } from "../../shared/kernel/clock.ts";
import { apiFrom } from "./start.ts";

const app = apiFrom(Deno.env.toObject(), { clock: systemClock, fetch, write: (line) => console.log(line) });

if (app) Deno.serve((request) => app.fetch(request));
else Deno.exitCode = 1;
