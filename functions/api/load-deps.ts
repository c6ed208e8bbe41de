import { createTokenVerifier } from "../../shared/adapters/token-verifier.ts";
import type { Config } from "../../shared/config.ts";
import { type Backend, bootstrapPlatform, loadServices } from "../../shared/container.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { isInnkeepError } from "../../shared/kernel/errors.ts";
import type { Logger } from "../../shared/kernel/logger.ts";
import { backendOf } from "./backend.ts";
import type { ApiDeps, Surroundings } from "./deps.ts";

/** Creates the dependencies of the routes. The database and the keys are used on the first request that needs them. */
export async function loadDeps(config: Config, surroundings: Surroundings, logger: Logger): Promise<ApiDeps> {
  const { clock, fetch } = surroundings;
  const backend = await backendOf(config, surroundings, logger);
  if (config.bootstrapAdmin) void bootstrap(backend, config.bootstrapAdmin);
  return { backend, verifier: createTokenVerifier({ ...config.jwt, clock, fetch }), denials: surroundings };
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
