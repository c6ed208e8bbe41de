import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { LocalInfo } from "../../functions/local/data-directory.ts";
import { commandLine } from "../../functions/local/processes.ts";
import { ROOT } from "../architecture/sources.ts";
import { exitWhenInterrupted, temporaryPrefix } from "../support/interrupted.ts";

/** A started program. */
export interface Program {
  readonly pid: number;
  output(): string;
  readonly ended: Promise<number | null>;
  /** Waits for a text in the output. Fails with the whole output if the program ends or the time is up. */
  waitFor(text: string, timeoutMs?: number): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  /** Signals the program and all processes in its group, as Ctrl-C in a terminal does. */
  killGroup(signal: NodeJS.Signals): void;
}

export interface Stack extends Program {
  readonly info: LocalInfo;
}

export const DENO = join(ROOT, "node_modules", ".bin", "deno");
const started: Program[] = [];
const folders: string[] = [];
/** The started programs. They have their own process groups, so an interrupted test run must end them. */
process.on("exit", () => started.forEach((program) => program.kill("SIGTERM")));

/** Runs a script of functions/local with the command of package.json, without npm. */
export function runLocal(name: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Program {
  return run(DENO, ["run", "-A", `functions/local/${name}.ts`, ...args], env);
}

/** The directory of a program and, for root, the user it runs as. */
export interface Place {
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
}

export function run(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}, place: Place = {}): Program {
  const { DATABASE_URL: _, ...inherited } = process.env;
  exitWhenInterrupted();
  const child = spawn(command, [...args], {
    cwd: ROOT,
    ...place,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...inherited, ...env, NO_COLOR: "1" },
  });
  const program = watch(child);
  started.push(program);
  return program;
}

function watch(child: ChildProcess): Program {
  const parts: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data: Buffer) => parts.push(String(data)));
  // `exit`, not `close`: the children of a killed program keep its output open.
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const output = () => parts.join("");
  const signal = (pid: number, name: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) process.kill(pid, name);
  };
  const pid = child.pid ?? 0;
  return {
    pid,
    output,
    ended,
    kill: (name) => signal(pid, name),
    killGroup: (name) => signal(-pid, name),
    async waitFor(text, timeoutMs = 45_000) {
      const deadline = Date.now() + timeoutMs;
      while (!output().includes(text)) {
        const over = child.exitCode !== null || child.signalCode !== null;
        if (over || Date.now() > deadline) throw new Error(`"${text}" did not come${over ? " before the end" : ""}:\n${output()}`);
        await sleep(20);
      }
    },
  };
}

/** Waits for the end of a program. */
export async function finish(program: Program): Promise<{ readonly code: number | null; readonly output: string }> {
  const code = await program.ended;
  await sleep(50); // what is left in the pipes
  return { code, output: program.output() };
}

export async function startStack(
  dataDir: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Stack> {
  const port = args.includes("--port") ? [] : ["--port", String(await unusedPort())];
  return await ready(runLocal("start", ["--data", dataDir, ...port, ...args], env), dataDir);
}

export async function ready(program: Program, dataDir: string): Promise<Stack> {
  await program.waitFor("Ctrl-C stops everything");
  return { ...program, info: JSON.parse(await readFile(join(dataDir, "local.json"), "utf8")) as LocalInfo };
}

export async function stopStack(stack: Program): Promise<void> {
  stack.kill("SIGTERM");
  await stack.ended;
}

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(temporaryPrefix("local-test"));
  await chmod(folder, 0o755); // as root, PostgreSQL runs as another user
  folders.push(folder);
  return folder;
}

/** Ends the programs that a failed test left running and removes the folders. */
export async function cleanUp(): Promise<void> {
  for (const program of started.splice(0)) {
    program.kill("SIGTERM");
    await program.ended;
  }
  for (const folder of folders.splice(0)) {
    const parts = await partsOf(folder);
    const alive = await areAlive(parts);
    for (const pid of parts.filter((_, i) => alive[i])) process.kill(pid, "SIGKILL");
    await rm(folder, { recursive: true, force: true });
  }
}

/** The process ids of the API and of PostgreSQL's postmaster. */
export async function partsOf(dataDir: string): Promise<number[]> {
  const pids = await Promise.all(["api.pid", "postgres/postmaster.pid"].map((file) => pidIn(dataDir, file)));
  return pids.filter((pid) => pid > 0);
}

export async function pidIn(dataDir: string, file: string): Promise<number> {
  return Number((await readFile(join(dataDir, file), "utf8").catch(() => "")).split("\n")[0]);
}

/** Whether each of the processes runs. A zombie does not. */
export async function areAlive(pids: readonly number[]): Promise<boolean[]> {
  return await Promise.all(pids.map(async (pid) => await commandLine(pid) !== null));
}

export async function unusedPort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** Calls the API as an administrator and parses the body. */
export async function call(
  info: LocalInfo,
  method: string,
  path: string,
  body?: unknown,
): Promise<{ readonly status: number; readonly body: unknown }> {
  const response = await fetch(`${info.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${info.tokens.superAdmin}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? null : JSON.parse(text) as unknown };
}

/** Repeats a call while the API is unreachable or returns 503. */
export async function callUntil(
  info: LocalInfo,
  method: string,
  path: string,
  timeoutMs = 20_000,
): Promise<{ readonly status: number; readonly body: unknown }> {
  for (const deadline = Date.now() + timeoutMs;;) {
    const answer = await call(info, method, path).catch(() => null);
    if (answer && answer.status !== 503) return answer;
    if (Date.now() > deadline) throw new Error(`${method} ${path} stays away (${String(answer?.status)})`);
    await sleep(50);
  }
}
