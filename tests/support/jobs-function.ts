import { spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT } from "../architecture/sources.ts";
import { freePort } from "./cluster.ts";
import { exitWhenInterrupted } from "./interrupted.ts";
import { PREVIOUS_ROOT_KEY_TEXT, ROOT_KEY_TEXT } from "./root-key.ts";

const DENO = join(ROOT, "node_modules", ".bin", "deno");
const SECRET = "scheduler-secret-0123456789";

/** The function `jobs` in a process of its own. */
export interface JobsProcess {
  /** `POST /jobs`: the reports, or null if the process was killed before it answered. */
  tick(): Promise<readonly { readonly job: string; readonly complete: boolean; readonly errors: readonly unknown[] }[] | null>;
  /** Sends SIGKILL and waits for the end. */
  kill(): Promise<void>;
  output(): string;
}

/** Starts the function. A dry run has loaded its modules and connected it to the database. */
export async function startJobs(databaseUrl: string, env: Readonly<Record<string, string>> = {}): Promise<JobsProcess> {
  exitWhenInterrupted();
  const port = await freePort();
  const args = ["run", "-A", "--no-check", "--quiet", "functions/jobs/index.ts"];
  const child = spawn(DENO, args, {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      NO_COLOR: "1",
      DENO_SERVE_ADDRESS: `tcp:127.0.0.1:${port}`,
      DATABASE_URL: databaseUrl,
      INNKEEP_OUTBOUND_LOCAL: "true",
      INNKEEP_ROOT_KEY: ROOT_KEY_TEXT,
      INNKEEP_ROOT_KEY_PREVIOUS: PREVIOUS_ROOT_KEY_TEXT,
      SUPABASE_URL: "https://project.supabase.example",
      JOBS_SECRET: SECRET,
      ...env,
    },
  });
  const kill = () => void child.kill("SIGKILL");
  process.once("exit", kill);
  const ended = new Promise<void>((resolve) =>
    child.once("exit", () => {
      process.off("exit", kill);
      resolve();
    })
  );
  const parts: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => parts.push(String(data)));
  const output = () => parts.join("");
  const post = (path: string) =>
    fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", headers: { authorization: `Bearer ${SECRET}` } });
  for (const deadline = Date.now() + 20_000;;) {
    const response = await post("/jobs/cleanup?dryRun=true").catch(() => null);
    await response?.arrayBuffer();
    if (response?.ok) break;
    if (Date.now() > deadline || child.exitCode !== null) throw new Error(`the function jobs did not start:\n${output()}`);
    await sleep(20);
  }
  return {
    output,
    async tick() {
      const response = await post("/jobs").catch(() => null);
      const body = await response?.json().catch(() => null) as { readonly data?: Awaited<ReturnType<JobsProcess["tick"]>> } | null;
      if (response && response.status !== 200) throw new Error(`POST /jobs: ${response.status} ${JSON.stringify(body)}\n${output()}`);
      return body?.data ?? null;
    },
    async kill() {
      kill();
      await ended;
    },
  };
}
