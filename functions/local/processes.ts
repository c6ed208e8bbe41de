import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

/** The command line of a process, or null when there is none with this id. */
export async function commandLine(pid: number): Promise<string | null> {
  if (!Number.isInteger(pid) || pid <= 1) return null;
  if (process.platform === "linux") {
    const text = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return text === "" ? null : text.replaceAll("\0", " ").trim();
  }
  return await promisify(execFile)("ps", ["-o", "args=", "-p", String(pid)]).then(({ stdout }) => stdout.trim() || null, () => null);
}

/** Whether the process lives and is what we take it for: the system reuses ids. */
export async function isRunning(pid: number, mark: string): Promise<boolean> {
  return (await commandLine(pid))?.includes(mark) ?? false;
}

/** Signals a process we left behind and waits; the second signal follows when the first was not enough. */
export async function endProcess(
  pid: number,
  mark: string,
  signals: readonly [NodeJS.Signals, NodeJS.Signals],
  graceMs = 10_000,
): Promise<void> {
  for (const signal of signals) {
    if (!await isRunning(pid, mark)) return;
    process.kill(pid, signal);
    const deadline = Date.now() + graceMs;
    while (Date.now() < deadline && await isRunning(pid, mark)) await sleep(25);
  }
}

/** A part of the stack that runs now. */
export interface Running {
  /** Resolves with the reason when it ends, asked to or not. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
}

export interface Supervised {
  stop(): Promise<void>;
}

/** Starts a part, and again whenever it dies, until told to stop. Throws when the first start fails. */
export async function supervise(name: string, start: () => Promise<Running>, say: (line: string) => void): Promise<Supervised> {
  let stopping = false;
  let current = await start();
  const again = async (): Promise<void> => {
    for (let waitMs = 200; !stopping; waitMs = Math.min(waitMs * 2, 5_000)) {
      await sleep(waitMs);
      if (stopping) return;
      try {
        current = await start();
        say(`${name} runs again`);
        return;
      } catch (error) {
        say(`${name} does not start: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  const watch = async (): Promise<void> => {
    while (!stopping) {
      const reason = await current.ended;
      if (stopping) return;
      say(`${name} ended (${reason}); starting it again`);
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
