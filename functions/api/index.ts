/** The Edge Function `api`: configuration, container, app, server. */
import { systemClock } from "../../shared/kernel/clock.ts";
import { apiFrom, backgroundOf, standardLog } from "./start.ts";

const write = standardLog(globalThis, systemClock, (line) => console.log(line));
const background = backgroundOf(globalThis);
const app = apiFrom(Deno.env.toObject(), { clock: systemClock, fetch, files: Deno, sockets: Deno, write, background });

if (app) Deno.serve((request) => app.fetch(request));
else Deno.exitCode = 1;
