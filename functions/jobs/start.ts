import type { Config, Environment } from "../../shared/config.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import { once } from "../api/once.ts";
import { configured, type Surroundings } from "../api/start.ts";
import { createJobs, type Jobs } from "./app.ts";

export { standardLog } from "../api/start.ts";

/** Creates the scheduler's function from environment variables. Logs one line for each invalid variable and then returns null. */
export function jobsFrom(env: Environment, surroundings: Surroundings): Jobs | null {
  return configured(env, surroundings, (config, logger) => {
    const load = once(async () => (await import("../api/backend.ts")).backendOf(config, surroundings, logger));
    const checked = once(async () => {
      const backend = await load();
      await (await import("../api/backend.ts")).assertRootKeys(backend);
      return backend;
    });
    return createJobs({ logger, secret: secretOf(config) }, checked);
  });
}

function secretOf({ jobsSecret }: Config): string {
  if (jobsSecret !== null) return jobsSecret;
  const message = "is missing: set it to a random text of at least 16 characters, and send it with each call of the scheduler";
  throw new InnkeepError("invalid_configuration", `JOBS_SECRET ${message}`, [{ path: "JOBS_SECRET", message, code: "required" }]);
}
