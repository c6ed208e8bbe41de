import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../../shared/kernel/clock.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import { assertStartable } from "../api/start.ts";
import type { DataDirectory } from "./data-directory.ts";
import { withLocalOrigins } from "./local-origins.ts";
import { OWN_REQUEST_ID } from "./log-lines.ts";
import { PROJECT_DIR } from "./options.ts";
import { isPortFree } from "./ports.ts";
import { endProcess, isRunning, startPart } from "./processes.ts";
import type { Running } from "./processes.ts";
import { fileSystem } from "./runtime.ts";
import { Refusal } from "./refusal.ts";

const ENTRY = "functions/local/api.ts";
const PERMISSIONS = ["--allow-net", "--allow-env", "--allow-read", "--allow-sys"];
const PID_FILE = "api.pid";
const START_DEADLINE_MS = 30_000;

export interface ApiOptions {
  readonly directory: DataDirectory;
  readonly port: number;
  readonly url: string;
  readonly appDatabaseUrl: string;
  readonly stopping: AbortSignal;
  /** Receives the lines that the API writes. */
  readonly log: (line: string) => void;
}

/** Starts the Edge Function under Deno with the permissions of a deployment, and waits until it responds. */
export async function startApi(options: ApiOptions): Promise<Running> {
  const { directory, url, stopping, log } = options;
  const env = environment(options);
  // A start that cannot decrypt what is stored ends with this error instead of answering 503.
  await assertStartable(env, { clock: systemClock, fetch, files: fileSystem() }, silentLogger);
  const { child, ended } = startPart(process.execPath, [
    "run",
    "--quiet",
    "--no-prompt",
    "--unstable-no-legacy-abort",
    ...PERMISSIONS,
    // Deno splits the list at commas; two are one in a path.
    `--allow-write=${archiveDir(directory).replaceAll(",", ",,")}`,
    ENTRY,
  ], {
    cwd: PROJECT_DIR,
    stdio: ["ignore", "pipe", "pipe"],
    env,
  }, "SIGTERM");
  for (const stream of [child.stdout, child.stderr]) if (stream) createInterface(stream).on("line", log);
  await directory.writeNote(PID_FILE, String(child.pid ?? 0));
  let over: string | null = null;
  void ended.then((reason) => over = reason);
  const deadline = Date.now() + START_DEADLINE_MS;
  while (!over && !await answers(`${url}/health`)) {
    if (Date.now() > deadline || stopping.aborted) child.kill("SIGKILL");
    await sleep(25);
  }
  stopping.throwIfAborted();
  if (over) throw new Refusal(`the API did not start (${String(over)}): its messages above have the reason`);
  return {
    ended,
    async stop() {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 3_000);
      await ended;
      clearTimeout(late);
      await rm(join(directory.path, PID_FILE), { force: true });
    },
  };
}

async function answers(url: string): Promise<boolean> {
  const headers = { "x-request-id": OWN_REQUEST_ID };
  return await fetch(url, { headers, signal: AbortSignal.timeout(2_000) }).then(async (response) => {
    await response.body?.cancel();
    return response.ok;
  }, () => false);
}

/** Where audit entries are archived. */
function archiveDir({ path }: DataDirectory): string {
  return process.env["INNKEEP_ARCHIVE_DIR"] ?? join(path, "archive");
}

/** The variables that Supabase would inject and the user's INNKEEP_ variables, and none of the machine's others. */
function environment({ directory, port, url, appDatabaseUrl }: ApiOptions): Record<string, string> {
  const { signingKey, jobsSecret, apiKeySecret, rootKey } = directory.secrets;
  const own = Object.entries(process.env).filter(([name]) =>
    name.startsWith("INNKEEP_") || name === "PATH" || name === "HOME" || name === "DENO_DIR"
  );
  return {
    INNKEEP_BASE_DOMAIN: "innkeep.example",
    INNKEEP_ARCHIVE_DIR: archiveDir(directory),
    ...(apiKeySecret === undefined ? {} : { INNKEEP_API_KEY_SECRET: apiKeySecret }),
    INNKEEP_OUTBOUND_LOCAL: "true",
    ...(rootKey === undefined ? {} : { INNKEEP_ROOT_KEY: rootKey }),
    ...Object.fromEntries(own.map(([name, value]) => [name, value ?? ""])),
    INNKEEP_CORS_ORIGINS: withLocalOrigins(process.env["INNKEEP_CORS_ORIGINS"] ?? ""),
    SUPABASE_URL: url,
    SUPABASE_DB_URL: appDatabaseUrl,
    SUPABASE_JWKS: JSON.stringify({ keys: [signingKey.publicJwk] }),
    JOBS_SECRET: jobsSecret,
    LOCAL_DATA_DIR: directory.path,
    DENO_SERVE_ADDRESS: `tcp:127.0.0.1:${port}`,
    NO_COLOR: "1",
  };
}

/** Ends an API that was left running by a start that was killed. */
export async function endOrphanedApi(directory: DataDirectory, port: number): Promise<void> {
  const pid = Number(await readFile(join(directory.path, PID_FILE), "utf8").catch(() => ""));
  const found = await isRunning(pid, ENTRY);
  await endProcess(pid, ENTRY, ["SIGTERM", "SIGKILL"], 3_000);
  await rm(join(directory.path, PID_FILE), { force: true });
  // A process that is ending loses its command line slightly earlier than its sockets.
  for (let waitedMs = 0; found && waitedMs < 3_000 && !await isPortFree(port); waitedMs += 25) await sleep(25);
}
