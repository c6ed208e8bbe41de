import { spawnSync } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { call, callUntil, cleanUp, DENO, finish, ready, run, stopStack, temporaryFolder, unusedPort } from "./stack.ts";
import type { Program } from "./stack.ts";

/** Mounts a disk that only the program sees. This needs the right to mount. */
const MOUNT = "mount -t tmpfs -o size=$1,mode=755 innkeep-test $2";
const canMount = process.platform === "linux" && spawnSync("unshare", ["-m", "bash", "-c", MOUNT, "-", "1m", "/mnt"]).status === 0;

afterEach(cleanUp);

interface Disk {
  readonly program: Program;
  /** The path of the disk for the program, and for this test. */
  readonly path: string;
  readonly reached: string;
}

async function startOnDisk(size: string): Promise<Disk> {
  const path = join(await temporaryFolder(), "disk");
  await mkdir(path);
  const port = String(await unusedPort());
  const command = `${MOUNT} && exec '${DENO}' run -A functions/local/start.ts --data $2/data --port ${port}`;
  const program = run("unshare", ["-m", "bash", "-c", command, "-", size, path]);
  return { program, path, reached: join("/proc", String(program.pid), "root", path) };
}

async function fill(path: string): Promise<void> {
  const megabyte = Buffer.alloc(2 ** 20);
  for (let i = 0; i < 1_000; i++) {
    const isFull = await writeFile(join(path, "filling"), megabyte, { flag: "a" }).then(() => false, () => true);
    if (isFull) return;
  }
}

describe.runIf(canMount)("a full disk", () => {
  test.each([
    ["15m", (disk: string) => `the disk that holds ${disk} is full`],
    ["60m", (disk: string) => `a new database needs 112 MiB, and the disk that holds ${disk} has 59 MiB free`],
  ])("O01: refuses a start on a disk of %s in one line that says so", async (size, wrong) => {
    const { program, path } = await startOnDisk(size);
    const message = `innkeep: ${wrong(`${path}/data`)}: free some space, or choose another disk with --data`;
    expect(await finish(program)).toEqual({ code: 1, output: `Innkeep is starting\n${message}\n` });
  });

  test("O01: while the stack runs is reported in one line, and so is its end; then changes work again", async () => {
    const { program, path, reached } = await startOnDisk("120m");
    const stack = await ready(program, join(reached, "data"));
    await fill(reached);
    await stack.waitFor(`the disk that holds ${path}/data is full: changes fail until you free some space`);
    expect(await call(stack.info, "GET", "/v1/tenants/stats")).toMatchObject({ body: { total: 12 } });
    await rm(join(reached, "filling"));
    await stack.waitFor(`the disk that holds ${path}/data has free space again`);
    expect(await callUntil(stack.info, "GET", "/ready")).toMatchObject({ status: 200 });
    const body = { name: "Room", subdomain: "room", plan: "Basic", owner: "o@x.example", ownerName: "O" };
    expect(await call(stack.info, "POST", "/v1/tenants", body)).toMatchObject({ status: 201 });
    expect(stack.output().match(/the disk that holds/g)).toHaveLength(2);
    await stopStack(stack);
  });
});
