import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";
import process from "node:process";
import { PROJECT_DIR } from "./options.ts";
import { Refusal } from "./refusal.ts";

/** A program of the project's `node_modules`, with its arguments. */
export interface Tool {
  readonly program: "deno" | "tsc" | "eslint" | "vitest";
  readonly args: readonly string[];
}

/** The tools of `npm run check`. Two run at a time, so the slow ones come first. */
export const CHECKS: readonly Tool[] = [
  { program: "eslint", args: ["."] },
  { program: "tsc", args: ["--noEmit"] },
  { program: "deno", args: ["check", "functions", "shared"] },
  { program: "deno", args: ["lint"] },
  { program: "deno", args: ["fmt", "--check"] },
];

const BIN = join(PROJECT_DIR, "node_modules", ".bin");
const AT_ONCE = 2;

/**
 * Runs each tool to its end, even if another failed, and prints one line for each. The output of each of several tools is
 * printed above its line; the output of a single tool is not buffered. Throws a Refusal that names the failed tools.
 */
export async function runTools(tools: readonly Tool[], stopping: AbortSignal): Promise<void> {
  const failed: Tool[] = [];
  const startedMs = performance.now();
  const waiting = [...tools];
  const worker = async () => {
    for (let tool = waiting.shift(); tool; tool = waiting.shift()) {
      const toolStartedMs = performance.now();
      const { passed, said } = await runTool(tool, tools.length > 1, stopping);
      process.stdout.write(said);
      console.log(`${nameOf(tool)} ${passed ? "passed" : "FAILED"} in ${secondsSince(toolStartedMs)}`);
      if (!passed) failed.push(tool);
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, worker));
  for (const each of ended) if (each.status === "rejected") throw each.reason;
  const names = tools.filter((tool) => failed.includes(tool)).map(nameOf);
  if (names.length > 0) throw new Refusal(`failed: ${names.join(", ")}; the output of each is above its line`);
  if (tools.length > 1) console.log(`all ${tools.length} passed in ${secondsSince(startedMs)}`);
}

/**
 * Returns whether the tool ended with exit code 0, and its output if it was kept. If a stop is requested, ends the tool and
 * throws `Stopped`.
 */
async function runTool(
  { program, args }: Tool,
  keepsOutput: boolean,
  stopping: AbortSignal,
): Promise<{ readonly passed: boolean; readonly said: string }> {
  stopping.throwIfAborted();
  const colours = keepsOutput && process.stdout.isTTY && !process.env["NO_COLOR"] ? { FORCE_COLOR: "1" } : {};
  const child = spawn(program === "deno" ? process.execPath : program, [...args], {
    cwd: PROJECT_DIR,
    stdio: keepsOutput ? ["ignore", "pipe", "pipe"] : "inherit",
    shell: process.platform === "win32" && program !== "deno", // There, the programs of npm packages are scripts.
    env: { ...process.env, ...colours, PATH: `${BIN}${delimiter}${process.env["PATH"] ?? ""}` },
  });
  const parts: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (part: Buffer) => void parts.push(part));
  const stop = () => child.kill("SIGTERM");
  stopping.addEventListener("abort", stop, { once: true });
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", (error) => reject(new Refusal(`${program} cannot be run (${error.message}): run npm ci`)));
      child.once("close", resolve);
    });
    stopping.throwIfAborted();
    return { passed: code === 0, said: Buffer.concat(parts).toString() };
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
