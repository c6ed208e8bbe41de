/** The Edge Function `api`: configuration, container, app, server. */
import { loadConfig } from "../../shared/config.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { apiOf } from "./start.ts";

const app = apiOf(loadConfig(Deno.env.toObject()), { clock: systemClock, fetch, write: (line) => console.log(line) });

Deno.serve((request) => app.fetch(request));
