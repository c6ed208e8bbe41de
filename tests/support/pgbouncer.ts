import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "./cluster.ts";
import { ROLE_PASSWORD } from "./roles.ts";

export interface PgBouncer {
  /** The same database and login, through the pooler. */
  readonly urlOf: (databaseUrl: string) => string;
  close(): Promise<void>;
}

/** The path of the binary, which is not in every PATH. */
export const PGBOUNCER = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"]
  .find((path) => existsSync(path));

/**
 * PgBouncer in transaction mode with one server connection per database, so that the session state of one call is
 * visible to the next caller. It refuses to run as root.
 */
export async function startPgBouncer(binary: string, serverUrl: string): Promise<PgBouncer> {
  const { hostname, port } = new URL(serverUrl);
  const directory = await mkdtemp(join(tmpdir(), "innkeep-pgbouncer-"));
  const listenPort = await freePort();
  const users = join(directory, "userlist.txt");
  const settings = join(directory, "pgbouncer.ini");
  await writeFile(users, `"innkeep_app" "${ROLE_PASSWORD}"\n`);
  await writeFile(
    settings,
    `[databases]
* = host=${hostname} port=${port || 5432}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = md5
auth_file = ${users}
pool_mode = transaction
default_pool_size = 1
`,
  );
  await chmod(directory, 0o755);
  const asRoot = process.getuid?.() === 0;
  const pooler = spawn(binary, [...(asRoot ? ["-u", "nobody"] : []), settings], { stdio: ["ignore", "ignore", "pipe"] });
  const log: string[] = [];
  pooler.stderr.on("data", (line) => void log.push(String(line)));
  const ended = new Promise<void>((resolve) => pooler.once("close", () => resolve()));
  const close = async () => {
    pooler.kill("SIGTERM");
    await ended;
    await rm(directory, { recursive: true, force: true });
  };
  for (let tries = 0; !await listens(listenPort); tries++) {
    if (tries === 100 || pooler.exitCode !== null) {
      await close();
      throw new Error(`PgBouncer did not start:\n${log.join("")}`);
    }
    await sleep(50);
  }
  const urlOf = (databaseUrl: string) => {
    const url = new URL(databaseUrl);
    url.host = `127.0.0.1:${listenPort}`;
    return url.href;
  };
  return { urlOf, close };
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
