import { readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { endProcess } from "../../functions/local/processes.ts";

/** What a test run makes in the folder for temporary files: whose it is, by process id, is in the name. */
const OURS = /^innkeep-(?:pg\d+|local-test)-(\d+)-\w+$/;
/** Where in such a folder a server's data may be. */
const SERVERS = ["postgres", "data/postgres"];

export function temporaryPrefix(kind: string): string {
  return join(tmpdir(), `innkeep-${kind}-${process.pid}-`);
}

let exits = false;

/**
 * From here on this process runs its exit handlers, which end what it started, also when it is interrupted (Ctrl-C, a
 * closed terminal, SIGTERM), and when it is a worker of a test runner that is gone.
 */
export function exitWhenInterrupted(): void {
  if (exits) return;
  exits = true;
  for (const [signal, number] of [["SIGHUP", 1], ["SIGINT", 2], ["SIGTERM", 15]] as const) {
    process.once(signal, () => exit(128 + number));
  }
  if (process.send) process.once("disconnect", () => exit(1));
}

/** A worker of vitest's cannot exit: its `process.exit` throws. */
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

/** Again while a server that is ending still writes into it: `maxRetries` does not look for new files. */
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

/** After a kill -9: ends the servers and removes the folders of test runs whose process is gone; answers the folders. */
export async function removeLeftOvers(within = tmpdir()): Promise<string[]> {
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
    return 0; // there is none, or none any more
  }
}

/** Whether there is such a process; one of another user counts. */
function signalIfAlive(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
