import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { areAlive, cleanUp, partsOf, pidIn, runLocal, startStack, temporaryFolder, unusedPort } from "./stack.ts";
import type { Program } from "./stack.ts";

afterEach(cleanUp);

async function until<T>(program: Program, what: () => Promise<T | null> | T | null): Promise<T> {
  for (const deadline = Date.now() + 30_000;;) {
    const found = await what();
    if (found !== null) return found;
    if (Date.now() > deadline) throw new Error(`it did not come to that:\n${program.output()}`);
    await sleep(5);
  }
}

const existing = (path: string) => existsSync(path) ? path : null;
const postmasterOf = async (dataDir: string) => await pidIn(dataDir, "postgres/postmaster.pid") || null;

/** The temporary data directory of a program with this TMPDIR. */
const inside = async (folder: string) => {
  const [name] = await readdir(folder);
  return name === undefined ? null : join(folder, name);
};

describe("Ctrl-C", () => {
  test("O01: ends npm run schema with its PostgreSQL, and its temporary directory is removed", async () => {
    const folder = await temporaryFolder();
    const program = runLocal("schema", [], { TMPDIR: folder });
    const dataDir = await until(program, () => inside(folder));
    const postmaster = await until(program, () => postmasterOf(dataDir));
    program.killGroup("SIGINT");
    expect(await program.ended, program.output()).toBe(130);
    expect(await areAlive([postmaster])).toEqual([false]);
    expect(await readdir(folder)).toEqual([]);
    expect(program.output()).toBe("");
  });

  test("O01: ends npm run schema while it creates its database", async () => {
    const folder = await temporaryFolder();
    const program = runLocal("schema", [], { TMPDIR: folder });
    const dataDir = await until(program, () => inside(folder));
    await until(program, () => existing(join(dataDir, "postgres.new", "base")));
    program.killGroup("SIGINT");
    expect(await program.ended, program.output()).toBe(130);
    expect(await readdir(folder)).toEqual([]);
    expect(program.output()).toBe("");
  });

  test("R14: ends npm run bootstrap-admin with its PostgreSQL", async () => {
    const dataDir = join(await temporaryFolder(), "data");
    const program = runLocal("bootstrap-admin", ["--data", dataDir, "--email", "a@innkeep.example", "--user-id", "a"]);
    const postmaster = await until(program, () => postmasterOf(dataDir));
    program.killGroup("SIGINT");
    expect(await program.ended, program.output()).toBe(130);
    expect(await areAlive([postmaster])).toEqual([false]);
    expect((await readdir(dataDir)).filter((name) => name.endsWith(".pid"))).toEqual([]);
  });

  test("O01: in the first second of a first start is not an error and leaves nothing behind", async () => {
    const dataDir = join(await temporaryFolder(), "data");
    const program = runLocal("start", ["--data", dataDir, "--port", String(await unusedPort())]);
    await until(program, () => existing(join(dataDir, "postgres.new", "base")));
    program.killGroup("SIGINT");
    expect(await program.ended).toBe(0);
    expect(program.output()).toMatch(
      /^Innkeep is starting\n.*creating a database in .*\n(.*stopping the parts that were started\n)?Innkeep has stopped\n$/,
    );
    expect(existsSync(dataDir)).toBe(false);
  });

  test("O01: pressed again a moment later ends the start at once and leaves no process", async () => {
    const dataDir = join(await temporaryFolder(), "data");
    const stack = await startStack(dataDir, ["--seed", "none"]);
    const parts = await partsOf(dataDir);
    process.kill(parts[1] ?? 0, "SIGSTOP"); // so that the first one takes long
    stack.kill("SIGINT");
    await sleep(1_200);
    stack.kill("SIGINT");
    expect(await stack.ended).toBe(130);
    process.kill(parts[1] ?? 0, "SIGCONT");
    await expect.poll(() => areAlive(parts), { timeout: 10_000 }).toEqual([false, false]);
  });
});
