import { existsSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { temporaryPrefix } from "../support/interrupted.ts";
import { areAlive, call, cleanUp, DENO, partsOf, pidIn, ready, run, unusedPort } from "./stack.ts";
import type { Stack } from "./stack.ts";

/** The first start creates the database, which takes longer than all else, and the others go on with it. */
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(temporaryPrefix("local-test"));
  await chmod(folder, 0o755); // as root, PostgreSQL runs as another user
});
afterEach(cleanUp);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The shell command for `npm start` with a redirection of its output. */
async function shell(dataDir: string, redirection: string): Promise<{ readonly command: string; readonly port: string }> {
  const port = String(await unusedPort());
  return { port, command: `'${DENO}' run -A functions/local/start.ts --data '${dataDir}' --port ${port} ${redirection}` };
}

/** Starts a stack whose output the test cannot read. */
async function startUnseen(redirection: string): Promise<{ readonly dataDir: string; readonly stack: Stack; readonly start: number }> {
  const dataDir = join(folder, "data");
  const { command } = await shell(dataDir, redirection);
  // A program that ended has left its file.
  await rm(join(dataDir, "local.json"), { force: true });
  const program = run("bash", ["-c", command]);
  await expect.poll(() => existsSync(join(dataDir, "local.json")), { timeout: 45_000, interval: 50 }).toBe(true);
  const stack = { ...await ready({ ...program, waitFor: () => Promise.resolve() }, dataDir) };
  return { dataDir, stack, start: await pidIn(dataDir, "start.pid") };
}

async function statusesOf(stack: Stack, calls: number): Promise<number[]> {
  const statuses = new Set<number>();
  for (let i = 0; i < calls; i++) statuses.add((await call(stack.info, "GET", "/v1/plans")).status);
  return [...statuses];
}

describe("the output of npm start", () => {
  test.each([
    ["into a pipe that was closed", "2>&1 | head -n 1"],
    ["on a full disk", "> /dev/full 2>&1"],
    ["into a pipe that nobody reads", "2>&1 | sleep 600"],
  ])("O01: does not affect requests or the stop when it goes %s", async (_, redirection) => {
    const { dataDir, stack, start } = await startUnseen(redirection);
    const parts = await partsOf(dataDir);
    // A line is about 250 bytes, and a pipe holds 64 KiB.
    expect(await statusesOf(stack, 400)).toEqual([200]);
    expect(await areAlive([start, ...parts])).toEqual([true, true, true]);
    process.kill(start, "SIGTERM");
    await expect.poll(() => areAlive([start, ...parts]), { timeout: 20_000 }).toEqual([false, false, false]);
    stack.killGroup("SIGKILL");
  });
});

const hasScript = existsSync("/usr/bin/script") && process.platform === "linux";

describe.runIf(hasScript)("npm start in a terminal", () => {
  async function inTerminal(): Promise<{ readonly dataDir: string; readonly stack: Stack }> {
    const dataDir = join(folder, "data");
    const port = String(await unusedPort());
    const command = `npm start -- --data ${dataDir} --port ${port}`;
    return { dataDir, stack: await ready(run("script", ["-qefc", command, "/dev/null"]), dataDir) };
  }

  test("O01: stops all processes when the terminal is closed", async () => {
    const { dataDir, stack } = await inTerminal();
    const all = [await pidIn(dataDir, "start.pid"), ...await partsOf(dataDir)];
    expect(await areAlive(all)).toEqual([true, true, true]);
    stack.kill("SIGKILL"); // the program that holds the terminal
    await expect.poll(() => areAlive(all), { timeout: 20_000 }).toEqual([false, false, false]);
    expect(existsSync(join(dataDir, "start.pid"))).toBe(false);
    expect(existsSync(join(dataDir, "postgres", "postmaster.pid"))).toBe(false);
  });

  test("O01: prints the address and a token, and then one short line per request", async () => {
    const { stack } = await inTerminal();
    await sleep(500);
    // The scheduler's lines can follow at once.
    const lines = stack.output().replace(/^.* {2}job .*$/gm, "").trimEnd().split(/\r?\n/);
    expect(lines.at(-1)).toContain("Ctrl-C stops everything");
    expect(lines.slice(-6).join("\n")).toContain(
      `curl -s '${stack.info.url}/v1/tenants?limit=3' -H 'Authorization: Bearer ${stack.info.tokens.superAdmin}'`,
    );
    expect(stack.output()).not.toContain('{"time"');
    await call(stack.info, "GET", `/v1/tenants/${String(stack.info.tenantId)}?fields=id`);
    await call(stack.info, "GET", "/v1/doors");
    await expect.poll(() => stack.output()).toMatch(
      /^\d\d:\d\d:\d\d {2}GET {4}\/v1\/doors {2}404 {2}[\d.]+ ms {2}not_found {2}req_\w+\r?$/m,
    );
    expect(stack.output()).toMatch(
      new RegExp(
        `^\\d\\d:\\d\\d:\\d\\d {2}GET {4}/v1/tenants/${
          String(stack.info.tenantId)
        } {2}400 {2}[\\d.]+ ms {2}invalid_parameter {2}req_\\w+\r?$`,
        "m",
      ),
    );
    stack.kill("SIGTERM");
    await stack.ended;
  });
});
