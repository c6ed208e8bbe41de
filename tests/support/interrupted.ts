import { readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { endProcess } from "../../functions/local/processes.ts";

/** The folders of a test run for temporary files. Their names contain the process id. */
const OURS = /^innkeep-(?:pg\d+|local-test)-(\d+)-\w+$/;
/** The places of a server's data in such a folder. */
const SERVERS = ["postgres", "data/postgres"];

export function temporaryPrefix(kind: string): string {
  return join(kind === "local-test" ? stackFolder() : tmpdir(), `innkeep-${kind}-${process.pid}-`);
}

/** The folder for the data of local stacks. Deno lets a program without all permissions read nothing below /dev. */
export function stackFolder(): string {
  return tmpdir().startsWith("/dev/") ? "/tmp" : tmpdir();
}

let exits = false;

/**
 * Makes this process run its exit handlers, which end what it started, also when it is interrupted (Ctrl-C, a closed
 * terminal, SIGTERM), or when it is a worker whose test runner has ended.
 */
export function exitWhenInterrupted(): void {
  if (exits) return;
  exits = true;
  for (const [signal, number] of [["SIGHUP", 1], ["SIGINT", 2], ["SIGTERM", 15]] as const) {
    process.once(signal, () => exit(128 + number));
  }
  if (process.send) process.once("disconnect", () => exit(1));
}

/** In a vitest worker, `process.exit` throws, so a signal ends it. */
function exit(code: number): void {
  if (!process.send) process.exit(code);
  try {
    process.emit("exit", code);
  } finally {
    process.kill(process.pid, "SIGKILL");
  }
}

/** Ends the server on a data directory at once, and removes the folder around it; for the exit of the process. */
export function removeAtOnce(folder: string, data: string): void {
  const pid = postmasterIn(data);
  if (pid) signalIfAlive(pid, "SIGQUIT");
  remove(folder);
}

/** Repeats the removal while a stopping server still writes files, because `maxRetries` does not find new ones. */
function remove(folder: string): void {
  for (let tries = 1;; tries++) {
    try {
      return rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      if (tries >= 60) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    }
  }
}

/** Ends the servers and removes the folders of test runs whose process no longer exists, as after kill -9. Returns the folders. */
export async function removeLeftOvers(within: string): Promise<string[]> {
  const folders = readdirSync(within).filter((name) => {
    const owner = Number(OURS.exec(name)?.[1]);
    return owner > 1 && !signalIfAlive(owner, 0);
  }).map((name) => join(within, name));
  for (const folder of folders) {
    for (const data of SERVERS.map((path) => join(folder, path))) {
      const pid = postmasterIn(data);
      if (pid) await endProcess(pid, data, ["SIGQUIT", "SIGKILL"]);
    }
    remove(folder);
  }
  return folders;
}

function postmasterIn(data: string): number {
  try {
    return Number(readFileSync(join(data, "postmaster.pid"), "utf8").split("\n")[0]);
  } catch {
    return 0; // there is no server, or it has ended
  }
}

/** Whether the process exists, also as another user's. */
function signalIfAlive(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
