import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";
import process from "node:process";
import { PROJECT_DIR } from "./options.ts";
import { Refusal } from "./refusal.ts";

/** A program of the project's own `node_modules`, with its arguments. */
export interface Tool {
  readonly program: "deno" | "tsc" | "eslint" | "vitest";
  readonly args: readonly string[];
}

/** What `npm run check` runs, the quick ones first. */
export const CHECKS: readonly Tool[] = [
  { program: "deno", args: ["fmt", "--check"] },
  { program: "deno", args: ["lint"] },
  { program: "deno", args: ["check", "functions", "shared"] },
  { program: "tsc", args: ["--noEmit"] },
  { program: "eslint", args: ["."] },
];

const BIN = join(PROJECT_DIR, "node_modules", ".bin");

/** Runs each tool to its end, also after one that failed, with a line for each; a Refusal names those that failed. */
export async function runTools(tools: readonly Tool[], stopping: AbortSignal): Promise<void> {
  const failed: string[] = [];
  const startedMs = performance.now();
  for (const tool of tools) {
    const toolStartedMs = performance.now();
    const passed = await runTool(tool, stopping);
    console.log(`${nameOf(tool)} ${passed ? "passed" : "FAILED"} in ${secondsSince(toolStartedMs)}`);
    if (!passed) failed.push(nameOf(tool));
  }
  if (failed.length > 0) throw new Refusal(`failed: ${failed.join(", ")}; what each says is above its line`);
  if (tools.length > 1) console.log(`all ${tools.length} passed in ${secondsSince(startedMs)}`);
}

/** Whether it ended with exit code 0. Throws `Stopped` when a stop is asked for, once the tool has ended. */
async function runTool({ program, args }: Tool, stopping: AbortSignal): Promise<boolean> {
  stopping.throwIfAborted();
  const child = spawn(program === "deno" ? process.execPath : program, [...args], {
    cwd: PROJECT_DIR,
    stdio: "inherit",
    shell: process.platform === "win32" && program !== "deno", // npm's programs are scripts there
    env: { ...process.env, PATH: `${BIN}${delimiter}${process.env["PATH"] ?? ""}` },
  });
  const stop = () => child.kill("SIGTERM");
  stopping.addEventListener("abort", stop, { once: true });
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", (error) => reject(new Refusal(`${program} cannot be run (${error.message}): run npm ci`)));
      child.once("exit", resolve);
    });
    stopping.throwIfAborted();
    return code === 0;
  } finally {
    stopping.removeEventListener("abort", stop);
  }
}

/** `deno fmt`, `tsc`. */
function nameOf({ program, args }: Tool): string {
  return program === "deno" || program === "vitest" ? `${program} ${args[0]}` : program;
}

function secondsSince(startedMs: number): string {
  return `${((performance.now() - startedMs) / 1_000).toFixed(1)} s`;
}
