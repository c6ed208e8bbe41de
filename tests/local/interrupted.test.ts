import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ROOT } from "../architecture/sources.ts";
import { removeLeftOvers } from "../support/interrupted.ts";
import { areAlive, cleanUp, pidIn, run, temporaryFolder } from "./stack.ts";
import type { Program } from "./stack.ts";

/** A test file that starts its own server beside the shared one. */
const FILE = "tests/kv/restart.test.ts";

let folder: string;
beforeEach(async () => void (folder = await temporaryFolder()));
afterEach(cleanUp);

const left = async () => (await readdir(folder)).filter((name) => name.startsWith("innkeep-"));

/** Starts a test run and waits for its servers. */
async function testRun(): Promise<{ readonly program: Program; readonly servers: number[] }> {
  // With these variables it would behave as a worker of the current test run.
  const own = Object.fromEntries(Object.keys(process.env).filter((name) => name.startsWith("VITEST")).map((name) => [name, ""]));
  const vitest = join(ROOT, "node_modules", "vitest", "vitest.mjs");
  const program = run(process.execPath, [vitest, "run", "--project", "pg18", FILE], { ...own, TMPDIR: folder, INNKEEP_PG: "18" });
  for (const deadline = Date.now() + 40_000;;) {
    const servers = await Promise.all((await left()).map((name) => pidIn(join(folder, name), "postgres/postmaster.pid")));
    if (servers.length >= 2 && servers.every((pid) => pid > 0)) return { program, servers };
    const over = await Promise.race([program.ended.then(() => true), sleep(20, false)]);
    if (over || Date.now() > deadline) throw new Error(`two servers did not come:\n${program.output()}`);
  }
}

describe.runIf(process.platform === "linux")("npm test", () => {
  test.each(
    [
      ["Ctrl-C", (program: Program) => program.killGroup("SIGINT")],
      ["a SIGTERM to it alone", (program: Program) => program.kill("SIGTERM")],
      ["a closed terminal", (program: Program) => program.killGroup("SIGHUP")],
    ] as const,
  )("O02: interrupted by %s, leaves no server running and no folder behind", async (_, interrupt) => {
    const { program, servers } = await testRun();
    interrupt(program);
    await program.ended;
    await expect.poll(left, { timeout: 10_000 }).toEqual([]);
    await expect.poll(() => areAlive(servers), { timeout: 10_000 }).toEqual(servers.map(() => false));
  });

  test("O02: after a kill -9, the next run ends its servers and removes its folders, but not those of running ones", async () => {
    const { program, servers } = await testRun();
    program.killGroup("SIGKILL");
    await program.ended;
    const running = `innkeep-pg18-${process.pid}-abcdef`;
    await mkdir(join(folder, running));
    await mkdir(join(folder, "innkeep-somebody-elses"));
    await expect.poll(async () => {
      await removeLeftOvers(folder);
      return (await left()).sort();
    }, { timeout: 10_000 }).toEqual([running, "innkeep-somebody-elses"]);
    expect(await areAlive(servers)).toEqual(servers.map(() => false));
  });
});
