import { type ChildProcess, spawn } from "node:child_process";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT } from "../../architecture/sources.ts";
import { freePort } from "../../support/cluster.ts";
import { exitWhenInterrupted } from "../../support/interrupted.ts";
import { freshDatabase } from "../../support/postgres.ts";
import { ROOT_KEY_TEXT } from "../../support/root-key.ts";
import { makeSigner, type Signer } from "./tokens.ts";

/** The first administrator, which the function creates when it starts. */
export const ADMIN_ID = "user-root";
const DENO = join(ROOT, "node_modules", ".bin", "deno");

/** The Edge Function in its own process. */
export interface RunningFunction {
  readonly url: string;
  readonly port: number;
  readonly signer: Signer;
  readonly child: ChildProcess;
  /** Its database, as the superuser. */
  readonly superUrl: string;
  /** Its output so far. */
  output(): string;
  /** The lines of its log so far. Throws when a line is not JSON. */
  lines(): Record<string, unknown>[];
  /** Sends bytes over a new connection and reads until it is closed, which the client does after `hangUpMs`. */
  raw(bytes: string | Buffer, hangUpMs?: number): Promise<string>;
  readonly ended: Promise<number | string>;
  stop(): Promise<void>;
}

/** Starts the function under Deno on its own database. `stdout`: a file descriptor, or a pipe that is read or not read. */
export async function startFunction(stdout: number | "read" | "unread" = "read"): Promise<RunningFunction> {
  const database = await freshDatabase();
  const signer = await makeSigner({ now: Date.now });
  const port = await freePort();
  exitWhenInterrupted();
  const child = spawn(DENO, ["run", "-A", "--no-check", "--quiet", "--unstable-no-legacy-abort", "functions/api/index.ts"], {
    cwd: ROOT,
    stdio: ["ignore", typeof stdout === "number" ? stdout : "pipe", "pipe"],
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      NO_COLOR: "1",
      DENO_SERVE_ADDRESS: `tcp:127.0.0.1:${port}`,
      DATABASE_URL: database.appUrl,
      SUPABASE_URL: "https://project.supabase.example",
      SUPABASE_JWKS: JSON.stringify(signer.jwks),
      INNKEEP_ROOT_KEY: ROOT_KEY_TEXT,
      INNKEEP_BASE_DOMAIN: "innkeep.example",
      INNKEEP_BOOTSTRAP_ADMIN_USER_ID: ADMIN_ID,
      INNKEEP_BOOTSTRAP_ADMIN_EMAIL: "root@innkeep.example",
    },
  });
  const kill = () => void child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("exit", () => process.off("exit", kill));
  const parts: string[] = [];
  for (const stream of stdout === "read" ? [child.stdout, child.stderr] : [child.stderr]) {
    stream?.on("data", (data: Buffer) => parts.push(String(data)));
  }
  const ended = new Promise<number | string>((resolve) => child.once("exit", (code, signal) => resolve(signal ?? code ?? "")));
  const output = () => parts.join("");
  const url = `http://127.0.0.1:${port}`;
  await isReady(url, await signer.sign(ADMIN_ID), output);
  return {
    url,
    port,
    signer,
    child,
    superUrl: database.superUrl,
    output,
    lines: () => output().split("\n").filter(Boolean).map((line) => JSON.parse(line) as Record<string, unknown>),
    raw: (bytes, hangUpMs = 10_000) => exchange(port, bytes, hangUpMs),
    ended,
    async stop() {
      child.kill("SIGKILL");
      await ended;
      await database.drop();
    },
  };
}

/** Waits until the first administrator exists. */
async function isReady(url: string, token: string, output: () => string): Promise<void> {
  for (const deadline = Date.now() + 20_000;;) {
    const response = await fetch(`${url}/v1/me`, { headers: { authorization: `Bearer ${token}` } }).catch(() => null);
    await response?.arrayBuffer();
    if (response?.ok) return;
    if (Date.now() > deadline) throw new Error(`the function did not answer (${response?.status}):\n${output()}`);
    await sleep(20);
  }
}

function exchange(port: number, bytes: string | Buffer, hangUpMs: number): Promise<string> {
  return new Promise((resolve) => {
    const parts: string[] = [];
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    const hangUp = setTimeout(() => socket.destroy(), hangUpMs);
    socket.on("data", (data) => parts.push(data.toString("latin1")));
    // A reset is a closed connection like any other: the bytes before it are the response.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      clearTimeout(hangUp);
      resolve(parts.join(""));
    });
  });
}
