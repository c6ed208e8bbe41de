import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import { endOrphanedApi, startApi } from "./api-process.ts";
import { openDataDirectory, temporaryDirectory } from "./data-directory.ts";
import type { DataDirectory, LocalInfo } from "./data-directory.ts";
import { embeddedUrls, migrateDatabase, prepareEmbedded, prepareExternal } from "./database.ts";
import type { DatabaseUrls } from "./database.ts";
import { assertRoom, freeBytes, FULL_BYTES, fullDiskMessage, watchDisk } from "./disk-space.ts";
import { shownPath } from "./options.ts";
import type { StartOptions } from "./options.ts";
import { localTokens } from "./people.ts";
import { freePort, isPortFree, nextFreePort } from "./ports.ts";
import { endOrphanedPostgres, ensureCluster, startPostgres } from "./postgres.ts";
import { supervise } from "./processes.ts";
import { Refusal } from "./refusal.ts";
import { startScheduler } from "./scheduler.ts";
import { seedStack } from "./seed.ts";
import { clusterPath } from "./server-home.ts";
import { orStopped, Stopped } from "./stop-signal.ts";
import { apiOf, startWebhookEcho } from "./webhook-echo.ts";

/** The running stack. `stop` stops its parts in reverse order of their start. */
export interface Stack {
  readonly info: LocalInfo;
  readonly dataDir: string;
  stop(): Promise<void>;
}

export interface DatabaseContext {
  readonly options: Pick<StartOptions, "ephemeral"> & Partial<Pick<StartOptions, "port">>;
  /** The value of `DATABASE_URL`, to use another server. */
  readonly externalUrl: string | undefined;
  readonly say: (line: string) => void;
  readonly stopping: AbortSignal;
}

export interface StackContext extends DatabaseContext {
  readonly options: StartOptions;
  /** Receives the lines of the API's log. */
  readonly log: (line: string) => void;
}

/** Starts all parts. If a step fails or a stop is requested, stops the parts that run. Returns null for a requested stop. */
export async function startStack(context: StackContext): Promise<Stack | null> {
  const { options, say } = context;
  const path = options.dataDir ?? await temporaryDirectory();
  const cleanups: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (let cleanup = cleanups.pop(); cleanup; cleanup = cleanups.pop()) await cleanup();
  };
  try {
    const directory = await openDataDirectory(path, { removeAtEnd: options.ephemeral });
    cleanups.push(() => directory.release());
    const info = await boot(directory, context, cleanups);
    cleanups.push(watchDisk(path, say));
    if (options.webhookEcho) {
      const echo = await startWebhookEcho(apiOf(info.url, info.tokens.superAdmin ?? ""), say);
      cleanups.push(() => echo.close());
      say(`the webhook echo listens on ${echo.url} and gets every event`);
    }
    cleanups.push(startScheduler({ url: `${info.url}/jobs`, secret: info.jobsSecret }, say));
    return { info, dataDir: path, stop };
  } catch (error) {
    const isFull = (await freeBytes(path)) < FULL_BYTES;
    if (cleanups.length > 1) say("stopping the parts that were started");
    await stop();
    if (options.dataDir === null) await rm(path, { recursive: true, force: true });
    if (error instanceof Stopped) return null;
    throw isFull ? new Refusal(fullDiskMessage(path)) : error;
  }
}

async function boot(directory: DataDirectory, context: StackContext, cleanups: (() => Promise<void>)[]): Promise<LocalInfo> {
  const { options: { port }, say, stopping, log } = context;
  const url = `http://127.0.0.1:${port}`;
  await endOrphanedApi(directory, port);
  if (!await isPortFree(port)) throw new Refusal(await takenPortMessage(port));
  const urls = await bootDatabase(directory, context, cleanups);
  const migrating = migrateDatabase(urls.owner, {
    onApplied: ({ version, name }) => say(`migration ${version}_${name}`),
    onWait: say,
  });
  const { applied } = await orStopped(stopping, migrating);
  if (applied.length === 0) say("migrations are up to date");
  const tenantId = await orStopped(stopping, seedOnce(directory, urls, context));
  const api = await supervise("the API", () => startApi({ directory, port, url, appDatabaseUrl: urls.app, stopping, log }), say);
  cleanups.push(() => api.stop());
  const { secrets } = directory;
  const info: LocalInfo = {
    url,
    databaseUrl: urls.superuser,
    jobsSecret: secrets.jobsSecret,
    tokens: await localTokens(secrets, url, tenantId),
    tenantId,
  };
  await directory.writeInfo(info);
  stopping.throwIfAborted();
  return info;
}

async function takenPortMessage(port: number): Promise<string> {
  const next = await nextFreePort(port);
  const other = next === null ? "choose another port with --port" : `run npm start -- --port ${next}`;
  return `port ${port} is in use by another program: stop that program, or ${other}`;
}

/** Starts only the database. `bootstrap-admin` uses it if the stack is not running. */
export async function bootDatabase(
  directory: DataDirectory,
  context: DatabaseContext,
  cleanups: (() => Promise<void>)[],
): Promise<DatabaseUrls> {
  const { options: { ephemeral, port: apiPort }, externalUrl, say, stopping } = context;
  if (externalUrl !== undefined) {
    say(`using the PostgreSQL of DATABASE_URL (${new URL(externalUrl).host})`);
    return await orStopped(stopping, prepareExternal(externalUrl));
  }
  await assertRoom(directory.path);
  if (await endOrphanedPostgres(directory)) say("the last run was killed; PostgreSQL recovers from its write-ahead log");
  const port = await freePort({ preferred: directory.marker.postgresPort, except: apiPort });
  await directory.updateMarker({ postgresPort: port });
  if (directory.marker.seeded === undefined) say(`creating a database in ${shownPath(directory.path)}`);
  await ensureCluster(directory, stopping);
  const data = await clusterPath(directory.path);
  if (dirname(data) !== directory.path) say(`the user of PostgreSQL may not enter ${shownPath(directory.path)}: its data is in ${data}`);
  const postgres = await supervise("PostgreSQL", () => startPostgres({ directory, port, durable: !ephemeral, stopping }), say);
  cleanups.push(() => postgres.stop());
  say(`PostgreSQL listens on 127.0.0.1:${port}`);
  const urls = embeddedUrls(port, directory.secrets);
  await orStopped(stopping, prepareEmbedded(urls, directory.secrets));
  return urls;
}

/** Seeds the database unless this is already complete. Returns the demo tenant. */
async function seedOnce(
  directory: DataDirectory,
  urls: DatabaseUrls,
  { options: { seed }, externalUrl, say }: StackContext,
): Promise<string | null> {
  const { seeded } = directory.marker;
  if (externalUrl === undefined && seeded) return seeded.tenantId;
  const tenantId = await seedStack({ databaseUrl: urls.app, demo: seed === "demo", ownDatabase: externalUrl === undefined, say });
  if (externalUrl === undefined) await directory.updateMarker({ seeded: { tenantId } });
  return tenantId;
}
