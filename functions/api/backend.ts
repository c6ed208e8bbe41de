import type { Config } from "../../shared/config.ts";
import { knownRootKeys, type RootKeySource } from "../../shared/core/root-keys.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { isOutage } from "../../shared/kernel/errors.ts";
import { type Backend, createBackend } from "../../shared/container.ts";
import type { Mailer } from "../../shared/core/mail.ts";
import { NO_OUTBOUND, type Outbound } from "../../shared/core/outbound.ts";
import type { Archive } from "../../shared/kernel/archive.ts";
import type { Logger } from "../../shared/kernel/logger.ts";
import type { VaultDriver } from "../../shared/kv/driver.ts";
import { checkedRootKeys } from "../../shared/features/root-keys/known.ts";
import { storeError } from "../../shared/kv/faults.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import type { Surroundings } from "./deps.ts";
import { once } from "./once.ts";

/** Retention keeps records for 5 minutes longer than their policy, because clocks may differ by that. */
const MAX_CLOCK_SKEW_MS = 5 * 60_000;

type BackendSurroundings = Omit<Surroundings, "write">;

/** Creates the backend of a configuration. The database is used on the first request that needs it. */
export async function backendOf(config: Config, surroundings: BackendSurroundings, logger: Logger): Promise<Backend> {
  const { currency, regions, auditKey, previousAuditKey, apiKeySecret, previousApiKeySecret, rateLimits } = config;
  const { clock, background } = surroundings;
  const archive = await archiveOf(config.archive, surroundings);
  const driver = await loadDriver(config.database);
  const store = createStore(driver, { clock });
  const rootKeys = checkedRootKeys(await rootKeysOf(config.rootKeys, driver), () => backend.bind(systemContext(clock, "start", "start")));
  const settings = {
    hosts: config,
    currency,
    regions,
    auditKey,
    previousAuditKey,
    archive,
    rateLimits,
    outbound: outboundOf(config.outbound, surroundings),
    mailer: await mailerOf(config.mail, surroundings),
  };
  const keys = { apiKeySecret, previousApiKeySecret, ...(background ? { background } : {}) };
  const backend = createBackend({ store, clock, logger, ...settings, ...keys, rootKeys, maxClockSkewMs: MAX_CLOCK_SKEW_MS });
  return backend;
}

/**
 * Throws `root_key_unavailable` if the configured keys are not those of the database. While the database is not available it throws
 * nothing: the keys are checked again before their first use.
 */
export async function assertRootKeys({ platform }: Backend): Promise<void> {
  await platform.secrets.rootKeys().catch((error: unknown) => {
    if (!isOutage(error)) throw error;
  });
}

/** Like `assertRootKeys`, for a configuration that nothing else uses yet. */
export async function assertConfigured(config: Config, surroundings: BackendSurroundings, logger: Logger): Promise<void> {
  const backend = await backendOf(config, surroundings, logger);
  await assertRootKeys(backend).finally(() => backend.store.close());
}

async function rootKeysOf(keys: Config["rootKeys"], driver: VaultDriver): Promise<RootKeySource> {
  if (keys.provider === "environment") return knownRootKeys(keys.current, keys.previous);
  return (await import("../../shared/adapters/vault-root-keys.ts")).vaultRootKeys(async () => {
    try {
      return await driver.rootKeys();
    } catch (error) {
      throw storeError(error, false);
    }
  });
}

/** The client is loaded by the first call. */
function outboundOf(rules: Config["outbound"], { sockets }: BackendSurroundings): Outbound {
  if (!sockets) return { ...NO_OUTBOUND, rules };
  const load = once(async () => {
    const [{ createOutbound }, { denoNetwork }] = await Promise.all([
      import("../../shared/adapters/outbound.ts"),
      import("../../shared/adapters/network.ts"),
    ]);
    return createOutbound({ rules, network: denoNetwork(sockets) });
  });
  return { rules, send: async (request) => await (await load()).send(request) };
}

async function mailerOf(mail: Config["mail"], { sockets }: BackendSurroundings): Promise<Mailer | null> {
  if (!mail || !sockets) return null;
  const [{ smtpMailer }, { denoNetwork }] = await Promise.all([
    import("../../shared/adapters/smtp.ts"),
    import("../../shared/adapters/network.ts"),
  ]);
  return smtpMailer({ ...mail, network: denoNetwork(sockets) });
}

async function archiveOf(archive: Config["archive"], { fetch, files }: BackendSurroundings): Promise<Archive | null> {
  if (archive?.kind === "storage") return (await import("../../shared/adapters/storage-archive.ts")).storageArchive({ ...archive, fetch });
  return archive && (await import("../../shared/adapters/directory-archive.ts")).directoryArchive(files, archive.path);
}

async function loadDriver(database: Config["database"]): Promise<VaultDriver> {
  if (database.driver === "supabase") {
    const { url, key, timeoutMs } = database;
    return (await import("../../shared/kv/drivers/supabase.ts")).supabaseDriver({ url, serviceKey: key, timeoutMs });
  }
  const { connectionString, prepare, maxConnections, timeoutMs } = database;
  const { postgresDriver } = await import("../../shared/kv/drivers/postgres.ts");
  return postgresDriver({ connectionString, prepare, max: maxConnections, timeoutMs });
}
