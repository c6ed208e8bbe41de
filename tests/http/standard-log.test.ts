import { spawn, spawnSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ROOT } from "../architecture/sources.ts";
import { standardLog } from "../../functions/api/standard-log.ts";
import { testClock } from "../support/store.ts";
import { type RunningFunction, startFunction } from "./support/function.ts";

const DENO = join(ROOT, "node_modules", ".bin", "deno");
const PROGRAM = [DENO, "run", "-A", "--no-check", "--quiet", "tests/http/support/logging.ts"];

interface Ended {
  readonly end: number | string | null;
  readonly lines: Record<string, unknown>[];
  /** Lines that are not JSON. */
  readonly broken: string[];
}

async function run(command: readonly string[]): Promise<Ended> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  const parts: Buffer[] = [];
  child.stdout.on("data", (part: Buffer) => parts.push(part));
  const end = await new Promise<number | string | null>((resolve) => child.once("close", (code, signal) => resolve(signal ?? code)));
  const texts = Buffer.concat(parts).toString().split("\n").filter(Boolean);
  const isWhole = (line: string) => line.startsWith("{") && line.endsWith("}");
  return {
    end,
    lines: texts.filter(isWhole).map((line) => JSON.parse(line) as Record<string, unknown>),
    broken: texts.filter((line) => !isWhole(line)),
  };
}

const numbered = Array.from({ length: 1_000 }, (_, n) => ({ n }));

describe("the log of a process that ends by", () => {
  test.each([["return", 0], ["exit", 3], ["SIGTERM", 143], ["SIGINT", 130], ["SIGHUP", 129]])(
    "O11: %s, with code %i, has every line, in order",
    async (mode, code) => {
      const { end, lines, broken } = await run([...PROGRAM, mode]);
      expect([end, broken]).toEqual([code, []]);
      expect(lines).toEqual(mode === "return" ? [...numbered, { last: 0 }] : numbered);
    },
  );

  test.each([["throw", "uncaught_error"], ["reject", "unhandled_rejection"]])(
    "O11: an uncaught error (%s) has every line and the error",
    async (mode, event) => {
      const { end, lines } = await run([...PROGRAM, mode]);
      expect(end).toBe(1);
      expect(lines.filter(({ n }) => n !== undefined)).toEqual(numbered);
      const crash = lines.find((line) => line["event"] === event);
      expect(crash).toMatchObject({ level: "error", error: "Error: boom" });
      expect(crash?.["stack"]).toContain("logging.ts");
    },
  );

  test("O11: kill -9 lacks at most the lines of its last milliseconds", async () => {
    const { end, lines } = await run([...PROGRAM, "SIGKILL"]);
    expect(end).toBe("SIGKILL");
    expect(lines.slice(0, 1_000)).toEqual(numbered);
    expect(lines.length).toBeLessThanOrEqual(1_001);
  });
});

const MOUNT = "mount -t tmpfs -o size=$1,mode=755 innkeep-test $2";
const canMount = process.platform === "linux" && spawnSync("unshare", ["-m", "bash", "-c", MOUNT, "-", "1m", "/mnt"]).status === 0;

test.runIf(canMount)("O11: a log on a full disk continues when there is space, with the number of lost lines", async () => {
  const folder = await mkdtemp(join(tmpdir(), "innkeep-log-"));
  const script = `${MOUNT} && '${PROGRAM.join("' '")}' disk $2/filling > $2/log; cat $2/log`;
  const { end, lines, broken } = await run(["unshare", "-m", "bash", "-c", script, "-", "128k", folder]);
  await rm(folder, { recursive: true });
  expect(end).toBe(0);
  expect(lines.slice(0, 1_000)).toEqual(numbered);
  // The line at which the disk became full may be cut, but the next one begins on a new line.
  expect(broken.length).toBeLessThanOrEqual(1);
  const written = lines.filter((line) => "lost" in line).length;
  const report = lines.find((line) => line["event"] === "log_lines_lost");
  expect(report).toMatchObject({ level: "warn" });
  expect(report?.["count"]).toBeGreaterThanOrEqual(1_000 - written);
  expect(report?.["count"]).toBeLessThanOrEqual(1_000);
  expect(report?.["reason"]).toMatch(/space/i);
  expect(lines.slice(-6)).toEqual([...Array.from({ length: 5 }, (_, kept) => ({ kept })), { last: 0 }]);
});

describe("requests", () => {
  const health = (api: RunningFunction, count: number) =>
    Promise.all(Array.from({ length: count }, async () => (await fetch(`${api.url}/health`)).text()));

  test("O11: are served when the output is closed", async () => {
    const api = await startFunction();
    api.child.stdout?.destroy();
    for (let i = 0; i < 5; i++) expect(await health(api, 50)).toEqual(Array(50).fill('{"status":"ok"}'));
    expect(api.child.exitCode).toBeNull();
    await api.stop();
  });

  test.runIf(process.platform === "linux")("O11: are served when the disk of the log is full", async () => {
    const full = openSync("/dev/full", "w");
    const api = await startFunction(full);
    closeSync(full);
    for (let i = 0; i < 5; i++) expect(await health(api, 50)).toEqual(Array(50).fill('{"status":"ok"}'));
    await api.stop();
  });

  test("O11: are served while nobody reads the log, and no line is lost below the limit", async () => {
    const api = await startFunction("unread");
    for (let i = 0; i < 40; i++) await health(api, 100);
    const parts: string[] = [];
    api.child.stdout?.on("data", (data: Buffer) => parts.push(String(data)));
    await expect.poll(() => parts.join("").match(/"route":"\/health"/g)?.length, { timeout: 10_000 }).toBe(4_000);
    api.child.kill("SIGTERM");
    expect(await api.ended).toBe(143);
    await api.stop();
  });

  test("O11: have all their lines in the log when the function receives SIGTERM", async () => {
    const api = await startFunction();
    const before = api.lines().length;
    await health(api, 200);
    api.child.kill("SIGTERM");
    expect(await api.ended).toBe(143);
    await expect.poll(() => api.lines().slice(before).filter(({ route }) => route === "/health").length).toBe(200);
    await api.stop();
  });
});

test("O11: on Supabase each line is one console.log call and so one event", () => {
  const events: string[] = [];
  const write = standardLog({ EdgeRuntime: {} }, testClock(), (line) => events.push(line));
  write("one", "info");
  write("two", "error");
  expect(events).toEqual(["one", "two"]);
});
