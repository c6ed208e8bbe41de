import type { Context } from "hono";
import { type Backend } from "../../shared/container.ts";
import { type JobReport, JobService } from "../../shared/features/jobs/service.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { errors, InnkeepError } from "../../shared/kernel/errors.ts";
import type { Logger } from "../../shared/kernel/logger.ts";
import { equalSecrets } from "../../shared/kernel/sha256.ts";
import type { AppEnv } from "../api/middleware/request-context.ts";
import { shellOf } from "../api/shell.ts";

const GATEWAY_PREFIX = "/functions/v1/jobs";
const BEARER = /^Bearer +(\S+)$/i;

export interface JobsOptions {
  readonly logger: Logger;
  /** The secret of the scheduler. */
  readonly secret: string;
}

export interface Jobs {
  fetch(request: Request): Response | Promise<Response>;
}

/**
 * The scheduler's function: `POST /jobs` runs every job that is due, `POST /jobs/:name` one job now, both with `dryRun=true` without
 * writing anything. A call ends within its budget; a run that is not complete continues with the next call.
 */
export function createJobs({ logger, secret }: JobsOptions, load: () => Promise<Backend>): Jobs {
  const app = shellOf({ logger, corsOrigins: [], routePath });
  const bound = async (c: Context<AppEnv>) => {
    const backend = await load();
    return new JobService(backend.bind(systemContext(backend.clock, c.get("requestId"), "jobs")));
  };
  app.use("/jobs/*", async (c, next) => {
    await assertScheduler(c.req.header("authorization"), secret);
    c.set("caller", "scheduler");
    await next();
  });
  app.post("/jobs", async (c) => {
    c.set("route", "/jobs");
    const dryRun = dryRunOf(c);
    return c.json({ data: await (await bound(c)).runDue({ dryRun }) satisfies JobReport[] });
  });
  app.post("/jobs/:name", async (c) => {
    c.set("route", "/jobs/:name");
    const dryRun = dryRunOf(c);
    return c.json(await (await bound(c)).run(c.req.param("name"), { dryRun }) satisfies JobReport);
  });
  return { fetch: (request) => app.fetch(request) };
}

/** The path from `/jobs` on. Some gateways leave their prefix `/functions/v1` before it. */
function routePath(pathname: string): string {
  return pathname === GATEWAY_PREFIX || pathname.startsWith(`${GATEWAY_PREFIX}/`) ? pathname.slice("/functions/v1".length) : pathname;
}

async function assertScheduler(authorization: string | undefined, secret: string): Promise<void> {
  const given = BEARER.exec(authorization ?? "")?.[1];
  if (given === undefined) {
    throw new InnkeepError("unauthenticated", "Send the scheduler's secret as `Authorization: Bearer <JOBS_SECRET>`.");
  }
  if (!await equalSecrets(given, secret)) throw new InnkeepError("unauthenticated", "The scheduler's secret is wrong.");
}

function dryRunOf(c: Context<AppEnv>): boolean {
  const query = new URL(c.req.url).searchParams;
  for (const name of query.keys()) {
    if (name !== "dryRun") throw errors.parameter(name, "is not a parameter of this path", "unknown_parameter");
  }
  const [value = "false", ...more] = query.getAll("dryRun");
  if (more.length > 0) throw errors.parameter("dryRun", "must be given only once", "repeated");
  if (value !== "true" && value !== "false") throw errors.parameter("dryRun", "must be true or false");
  return value === "true";
}
