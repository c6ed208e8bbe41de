import { execFile, spawn } from "node:child_process";
import type { ChildProcess, SpawnOptions } from "node:child_process";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Refusal } from "./refusal.ts";

/** The command line of a process, or null if there is no such process. */
export async function commandLine(pid: number): Promise<string | null> {
  if (!Number.isInteger(pid) || pid <= 1) return null;
  if (process.platform === "linux") {
    const text = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return text === "" ? null : text.replaceAll("\0", " ").trim();
  }
  return await promisify(execFile)("ps", ["-o", "args=", "-p", String(pid)]).then(({ stdout }) => stdout.trim() || null, () => null);
}

/** Whether the process runs and its command line contains `mark`. The system reuses ids, so the id alone is not enough. */
export async function isRunning(pid: number, mark: string): Promise<boolean> {
  return (await commandLine(pid))?.includes(mark) ?? false;
}

/** Ends a process of an earlier start: sends the first signal, waits, and sends the second if the process still runs. */
export async function endProcess(
  pid: number,
  mark: string,
  signals: readonly [NodeJS.Signals, NodeJS.Signals],
  graceMs = 10_000,
): Promise<void> {
  for (const signal of signals) {
    if (!await isRunning(pid, mark)) return;
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EPERM") continue; // It has already ended.
      throw new Refusal(`process ${pid} of an earlier start belongs to another user: end it as that user with kill ${pid}`);
    }
    const deadline = Date.now() + graceMs;
    while (Date.now() < deadline && await isRunning(pid, mark)) await sleep(25);
  }
}

/** A started program. `ended` resolves with its exit code, its signal, or the error that prevented its start. */
export interface Part {
  readonly child: ChildProcess;
  readonly ended: Promise<string>;
}

/**
 * Starts a program in its own process group. Ctrl-C signals only the foreground group, so this process decides the order of
 * stopping. If this process exits first, the program receives `lastSignal`, so that it does not keep running.
 */
export function startPart(program: string, args: readonly string[], options: SpawnOptions, lastSignal: NodeJS.Signals): Part {
  const child = spawn(program, [...args], { ...options, detached: true });
  const atExit = () => child.kill(lastSignal);
  process.on("exit", atExit);
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
  }).finally(() => process.removeListener("exit", atExit));
  return { child, ended };
}

/** A running part of the stack. */
export interface Running {
  /** Resolves with the reason when the part ends, whether it was stopped or not. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
}

export interface Supervised {
  stop(): Promise<void>;
}

/** Starts a part and restarts it whenever it ends, until `stop`. Throws if the first start fails. */
export async function supervise(name: string, start: () => Promise<Running>, say: (line: string) => void): Promise<Supervised> {
  let stopping = false;
  let current = await start();
  const again = async (): Promise<void> => {
    let said = "";
    for (let waitMs = 200; !stopping; waitMs = Math.min(waitMs * 2, 5_000)) {
      await sleep(waitMs);
      if (stopping) return;
      try {
        current = await start();
        say(`${name} is running again`);
        return;
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        if (reason !== said && !stopping) say(`${reason}; retrying every few seconds`);
        said = reason;
      }
    }
  };
  const watch = async (): Promise<void> => {
    while (!stopping) {
      const reason = await current.ended;
      if (stopping) return;
      say(`${name} ended (${reason}); restarting it`);
      await again();
    }
  };
  const watching = watch();
  return {
    async stop() {
      stopping = true;
      await current.stop();
      await watching;
    },
  };
}
