import type { ChildProcess } from "node:child_process";
import { chown, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { DataDirectory } from "./data-directory.ts";
import { endProcess, isRunning, startPart } from "./processes.ts";
import type { Running } from "./processes.ts";
import { Refusal } from "./refusal.ts";
import { clusterPath, findPrograms, holdsCluster, openServerHome } from "./server-home.ts";
import type { ServerHome } from "./server-home.ts";
import { orStopped } from "./stop-signal.ts";

export interface PostgresOptions {
  readonly directory: DataDirectory;
  readonly port: number;
  /** False only for temporary data: commits then do not wait for the disk. */
  readonly durable: boolean;
  readonly stopping: AbortSignal;
}

const SETTINGS = [
  "listen_addresses=127.0.0.1",
  "unix_socket_directories=", // The path of a socket is limited to about 100 characters.
  "max_connections=100",
  "logging_collector=on", // The log must continue after the process that started the server has ended.
  "log_directory=log",
  "log_filename=postgres.log",
  "log_rotation_size=10MB",
  "log_truncate_on_rotation=on",
];
const VOLATILE = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];
const LOG = "log/postgres.log";
const START_DEADLINE_MS = 60_000;

/** Creates the cluster of the data directory if there is none. */
export async function ensureCluster(directory: DataDirectory, stopping: AbortSignal): Promise<void> {
  if (await holdsCluster(directory.path)) return;
  await makeCluster(await openServerHome(directory.path), { password: directory.secrets.superuserPassword, stopping });
}

export interface ClusterOptions {
  /** The password of the superuser. */
  readonly password: string;
  readonly stopping: AbortSignal;
  /** Additional options of initdb. */
  readonly flags?: readonly string[];
  /** The npm package that contains the server. */
  readonly packageName?: string;
}

/** Creates a cluster in a server's home. An attempt that is killed or stopped leaves no incomplete cluster. */
export async function makeCluster(home: ServerHome, options: ClusterOptions): Promise<void> {
  const draft = join(home.path, "postgres.new");
  const passwordFile = join(home.path, "initdb.password");
  const programs = await findPrograms(home, options.packageName);
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o700 });
  await writeFile(passwordFile, options.password, { mode: 0o600 });
  const { account } = home;
  if (account) await Promise.all([draft, passwordFile].map((path) => chown(path, account.uid, account.gid)));
  const args = [
    `--pgdata=${draft}`,
    `--pwfile=${passwordFile}`,
    "--username=postgres",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    ...options.flags ?? [],
  ];
  try {
    await runInitdb(join(programs, "initdb"), args, home, options.stopping);
    await rename(draft, join(home.path, "postgres"));
  } finally {
    await Promise.all([draft, passwordFile].map((path) => rm(path, { recursive: true, force: true })));
  }
}

async function runInitdb(program: string, args: readonly string[], home: ServerHome, stopping: AbortSignal): Promise<void> {
  const { child, ended } = startPart(program, args, {
    ...home.account ?? {},
    cwd: home.path, // The account may not be allowed to enter the current directory.
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C" },
  }, "SIGKILL");
  const errors = collect(child);
  try {
    const how = await orStopped(stopping, ended);
    if (how !== "exit code 0") throw new Refusal(`PostgreSQL's initdb failed: ${reasonIn(errors()) ?? how}`);
  } finally {
    const end = (signal: NodeJS.Signals) => {
      const isOver = child.exitCode !== null || child.signalCode !== null;
      if (child.pid && !isOver) process.kill(-child.pid, signal); // The group includes the servers that initdb has started.
    };
    end("SIGTERM");
    const late = setTimeout(() => end("SIGKILL"), 3_000);
    await ended;
    clearTimeout(late);
  }
}

/** Starts the server of the data directory and waits until it accepts connections. */
export async function startPostgres({ directory, port, durable, stopping }: PostgresOptions): Promise<Running> {
  const home = await openServerHome(directory.path);
  return await startServer(home, { port, settings: durable ? SETTINGS : [...SETTINGS, ...VOLATILE], stopping });
}

export interface ServerOptions {
  readonly port: number;
  /** In the form `name=value`. */
  readonly settings: readonly string[];
  readonly stopping: AbortSignal;
  readonly packageName?: string;
}

/** Starts a server on the cluster in its home and waits until it accepts connections. */
export async function startServer(home: ServerHome, options: ServerOptions): Promise<Running> {
  const deadline = Date.now() + START_DEADLINE_MS;
  for (;;) {
    const attempt = await tryStart(home, options, deadline);
    if (typeof attempt !== "string") return attempt;
    // After a kill -9 of the postmaster, its child processes need a moment to end.
    if (!attempt.includes("shared memory") || Date.now() > deadline) throw new Refusal(`PostgreSQL did not start: ${attempt}`);
    await sleep(200, undefined, { signal: options.stopping });
  }
}

/** Returns the running server, or the reason why it did not start. */
async function tryStart(home: ServerHome, { port, settings, stopping, packageName }: ServerOptions, deadline: number) {
  stopping.throwIfAborted();
  const data = join(home.path, "postgres");
  const args = [...settings, `port=${port}`].flatMap((setting) => ["-c", setting]);
  const { child, ended } = startPart(join(await findPrograms(home, packageName), "postgres"), ["-D", data, ...args], {
    ...home.account ?? {},
    cwd: data,
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C", TZ: "UTC" },
  }, "SIGQUIT");
  const errors = collect(child);
  const loggedBefore = await sizeOf(join(data, LOG));
  let how: string | null = null;
  void ended.then((reason) => how = reason);
  while (how === null && !await isReady(data, child.pid ?? 0)) {
    if (Date.now() > deadline || stopping.aborted) child.kill("SIGQUIT");
    await sleep(20);
  }
  if (how === null) return { ended, stop: () => stopChild(child, ended) };
  stopping.throwIfAborted();
  const logged = (await readFile(join(data, LOG), "utf8").catch(() => "")).slice(loggedBefore);
  return reasonIn(errors()) ?? reasonIn(logged) ?? `${String(how)}; its log is ${join(data, LOG)}`;
}

async function sizeOf(path: string): Promise<number> {
  return await stat(path).then(({ size }) => size, () => 0);
}

/** The error message in PostgreSQL's output. */
function reasonIn(output: string): string | null {
  const lines = output.split("\n").filter((line) => /\b(FATAL|PANIC|ERROR|error):/.test(line));
  if (lines.some((line) => line.includes("No space left on device"))) {
    return "the disk is full: free some space on the disk of its data directory";
  }
  return lines.at(-1)?.replace(/^.*?\b(?:FATAL|PANIC|ERROR|error):\s*/, "").trim() ?? null;
}

/** Requests a fast shutdown, which rolls open transactions back, and an immediate one if that takes too long. */
async function stopChild(child: ChildProcess, ended: Promise<string>): Promise<void> {
  child.kill("SIGINT");
  const late = setTimeout(() => child.kill("SIGQUIT"), 15_000);
  await ended;
  clearTimeout(late);
}

/** Whether the pid file, to which the server writes its state, belongs to this process and says `ready`. */
async function isReady(data: string, pid: number): Promise<boolean> {
  const lines = (await readFile(join(data, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
  return Number(lines[0]) === pid && lines[7]?.trim() === "ready";
}

/** After a start was killed: ends its server if it still runs, and removes its pid file. Returns whether there was one. */
export async function endOrphanedPostgres(directory: DataDirectory): Promise<boolean> {
  const data = await clusterPath(directory.path);
  const pidFile = join(data, "postmaster.pid");
  const pid = Number((await readFile(pidFile, "utf8").catch(() => "")).split("\n")[0]);
  if (!pid) return false;
  if (await isRunning(pid, data)) {
    await endProcess(pid, data, ["SIGINT", "SIGQUIT"]);
    return true;
  }
  await rm(pidFile, { force: true }); // Another process may have the id now.
  return true;
}

function collect(child: ChildProcess): () => string {
  const lines: string[] = [];
  child.stderr?.on("data", (data: Uint8Array) => {
    lines.push(String(data));
    if (lines.length > 50) lines.shift();
  });
  return () => lines.join("").trim();
}
