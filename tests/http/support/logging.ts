/** A Deno program that logs as the function does and then ends in one of several ways. */
import { rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { standardLog } from "../../../functions/api/standard-log.ts";
import { systemClock } from "../../../shared/kernel/clock.ts";

const [mode = "", filling = ""] = process.argv.slice(2);
const write = standardLog(globalThis, systemClock, (line) => console.log(line));
const lines = (name: string, count: number) => {
  for (let i = 0; i < count; i++) write(JSON.stringify({ [name]: i }), "info");
};

const ENDS: Readonly<Record<string, () => void | Promise<void>>> = {
  return: () => undefined,
  exit: () => process.exit(3),
  throw: () =>
    void setTimeout(() => {
      throw new Error("boom");
    }),
  reject: () => void Promise.reject(new Error("boom")),
  SIGTERM: () => void process.kill(process.pid, "SIGTERM"),
  SIGINT: () => void process.kill(process.pid, "SIGINT"),
  SIGHUP: () => void process.kill(process.pid, "SIGHUP"),
  async SIGKILL() {
    await sleep(300);
    lines("late", 1);
    process.kill(process.pid, "SIGKILL");
  },
  async disk() {
    await sleep(100);
    fill(filling);
    lines("lost", 1_000);
    await sleep(100);
    rmSync(filling);
    lines("kept", 5);
  },
};

function fill(path: string): void {
  try {
    for (;;) writeFileSync(path, new Uint8Array(4_096), { flag: "a" });
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOSPC") throw error;
  }
}

lines("n", 1_000);
const waits = mode.startsWith("SIG") ? setInterval(() => undefined, 1_000) : undefined;
await ENDS[mode]?.();
if (!waits) lines("last", 1);
