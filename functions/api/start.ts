import { type Config, type Environment, loadConfig } from "../../shared/config.ts";
import { isInnkeepError } from "../../shared/kernel/errors.ts";
import { jsonLogger, type Logger } from "../../shared/kernel/logger.ts";
import { type Api, createApi } from "./app.ts";
import type { Surroundings } from "./deps.ts";
import { once } from "./once.ts";

export { standardLog } from "./standard-log.ts";
export type { Surroundings };

/** Supabase's Edge Runtime ends an instance once its requests are answered, unless it is told of other work. */
export function backgroundOf(globals: object): Surroundings["background"] {
  const { EdgeRuntime } = globals as { readonly EdgeRuntime?: { waitUntil?(work: Promise<unknown>): void } };
  return EdgeRuntime?.waitUntil && ((work) => EdgeRuntime.waitUntil?.(work));
}

/** Creates the API from environment variables. Logs one line for each invalid variable and then returns null. */
export function apiFrom(env: Environment, surroundings: Surroundings): Api | null {
  return configured(env, surroundings, (config, logger) => apiOf(config, surroundings, logger));
}

/** Makes a function's program from environment variables. Logs one line for each invalid variable and then returns null. */
export function configured<T>(
  env: Environment,
  { clock, write }: Pick<Surroundings, "clock" | "write">,
  make: (config: Config, logger: Logger) => T,
): T | null {
  const logger = jsonLogger(write, () => clock.now());
  try {
    const config = loadConfig(env);
    return make(config, fromLevel(logger, config.logLevel));
  } catch (error) {
    if (!isInnkeepError(error, "invalid_configuration")) throw error;
    for (const { path, message } of error.fields) logger.error("invalid_configuration", { variable: path, message });
    return null;
  }
}

/** Creates the API. Its dependencies load on the first request, or at once to create a configured first administrator. */
function apiOf(config: Config, surroundings: Surroundings, logger: Logger): Api {
  const load = once(async () => (await import("./load-deps.ts")).loadDeps(config, surroundings, logger));
  // The check is repeated by the next request, and the dependencies are not loaded again.
  const checked = once(async () => {
    const deps = await load();
    await (await import("./backend.ts")).assertRootKeys(deps.backend);
    return deps;
  });
  // A failed load ends no process: the next request tries again, and creates the administrator then.
  if (config.bootstrapAdmin) load().catch((error: unknown) => logger.error("bootstrap_failed", { error: String(error) }));
  return createApi({ logger, corsOrigins: config.corsOrigins }, checked);
}

/** Throws `root_key_unavailable` if the root keys of an environment are not those of its database, and `invalid_configuration`. */
export async function assertStartable(env: Environment, surroundings: Omit<Surroundings, "write">, logger: Logger): Promise<void> {
  const config = loadConfig(env);
  await (await import("./backend.ts")).assertConfigured(config, surroundings, logger);
}

function fromLevel(logger: Logger, level: Config["logLevel"]): Logger {
  const silent = () => undefined;
  return { ...logger, ...(level === "info" ? {} : { info: silent }), ...(level === "error" ? { warn: silent } : {}) };
}
