import { createTokenVerifier } from "../../shared/adapters/token-verifier.ts";
import { type Config, type Environment, loadConfig } from "../../shared/config.ts";
import { type Backend, bootstrapPlatform, createBackend, loadServices } from "../../shared/container.ts";
import type { Clock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { isInnkeepError } from "../../shared/kernel/errors.ts";
import { jsonLogger, type Logger, type LogWriter } from "../../shared/kernel/logger.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { supabaseDriver } from "../../shared/kv/drivers/supabase.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Fetch } from "../../shared/ports.ts";
import { type Api, createApi } from "./app.ts";

export { standardLog } from "./standard-log.ts";

export interface Surroundings {
  readonly clock: Clock;
  readonly fetch: Fetch;
  readonly write: LogWriter;
}

/** Creates the API from environment variables. Logs one line for each invalid variable and then returns null. */
export function apiFrom(env: Environment, surroundings: Surroundings): Api | null {
  try {
    return apiOf(loadConfig(env), surroundings);
  } catch (error) {
    if (!isInnkeepError(error, "invalid_configuration")) throw error;
    const logger = jsonLogger(surroundings.write, () => surroundings.clock.now());
    for (const { path, message } of error.fields) logger.error("invalid_configuration", { variable: path, message });
    return null;
  }
}

/** Creates the API. It uses the database and the keys on the first request, or at once to create a configured first administrator. */
function apiOf(config: Config, { clock, fetch, write }: Surroundings): Api {
  const logger = fromLevel(jsonLogger(write, () => clock.now()), config.logLevel);
  const { currency, regions, selfServicePlans } = config;
  const store = createStore(driverOf(config.database), { clock });
  const backend = createBackend({ store, clock, logger, hosts: config, currency, regions, selfServicePlans });
  if (config.bootstrapAdmin) void bootstrap(backend, config.bootstrapAdmin);
  return createApi({ backend, verifier: createTokenVerifier({ ...config.jwt, clock, fetch }), config });
}

function driverOf(database: Config["database"]) {
  if (database.driver === "supabase") {
    const { url, key, timeoutMs } = database;
    return supabaseDriver({ url, serviceKey: key, timeoutMs });
  }
  const { connectionString, prepare, maxConnections, timeoutMs } = database;
  return postgresDriver({ connectionString, prepare, max: maxConnections, timeoutMs });
}

function fromLevel(logger: Logger, level: Config["logLevel"]): Logger {
  const silent = () => undefined;
  return { ...logger, ...(level === "info" ? {} : { info: silent }), ...(level === "error" ? { warn: silent } : {}) };
}

/** Creates the default plans and the first super_admin. Does nothing once a super_admin exists. */
async function bootstrap(backend: Backend, admin: NonNullable<Config["bootstrapAdmin"]>): Promise<void> {
  try {
    const servicesOf = await loadServices();
    await bootstrapPlatform(servicesOf(backend.bind(systemContext(backend.clock, "bootstrap", "bootstrap"))), admin);
    backend.logger.info("bootstrapped", { userId: admin.userId });
  } catch (error) {
    if (isInnkeepError(error, "bootstrap_closed")) return;
    backend.logger.error("bootstrap_failed", { error: error instanceof Error ? error.message : String(error) });
  }
}
