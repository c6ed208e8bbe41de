import { chmod, chown, lstat, mkdtemp, readdir, readlink, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { ROOT } from "../architecture/sources.ts";
import { temporaryPrefix } from "../support/interrupted.ts";
import { copyCheckout, isOpenToAll } from "./checkout.ts";
import { areAlive, call, cleanUp, DENO, finish, partsOf, ready, run, stopStack, temporaryFolder, unusedPort } from "./stack.ts";
import type { Place, Program, Stack } from "./stack.ts";

/** Only root can run programs as another user. */
const isRoot = process.getuid?.() === 0;
const NOBODY = { uid: 65_534, gid: 65_534 };

afterEach(cleanUp);

async function program(checkout: string, args: readonly string[], place: Place = {}): Promise<Program> {
  return await script("start", checkout, ["--port", String(await unusedPort()), ...args], place);
}

/** Deno's cache of each user: with a new one, every start would compile the program again. Root has that of this process. */
const denoDirs = new Map<number, string>();
afterAll(() => Promise.all([...denoDirs.values()].map((folder) => rm(folder, { recursive: true, force: true }))));

async function denoDirOf(uid: number, gid: number): Promise<string> {
  if (uid === 0) return process.env["DENO_DIR"] ?? join(homedir(), ".cache", "deno");
  const known = denoDirs.get(uid);
  if (known) return known;
  const folder = await mkdtemp(temporaryPrefix("local-test"));
  denoDirs.set(uid, folder);
  await chown(folder, uid, gid);
  return folder;
}

async function script(name: string, checkout: string, args: readonly string[], place: Place): Promise<Program> {
  const [home, { uid = 0, gid = 0 }] = [await temporaryFolder(), place];
  await chown(home, uid, gid);
  const env = { HOME: home, DENO_DIR: await denoDirOf(uid, gid) };
  return run(DENO, ["run", "-A", join(checkout, `functions/local/${name}.ts`), ...args], env, {
    cwd: home,
    ...place,
  });
}

async function start(checkout: string, dataDir: string, place: Place = {}, args: readonly string[] = []): Promise<Stack> {
  return await ready(await program(checkout, ["--data", dataDir, ...args], place), dataDir);
}

/** The owners of all files in a folder. PostgreSQL's data counts as one file. */
async function ownersIn(folder: string): Promise<number[]> {
  const names = await readdir(folder);
  const all = await Promise.all([folder, ...names.map((name) => join(folder, name))].map((path) => lstat(path)));
  return [...new Set(all.map(({ uid }) => uid))];
}

describe.runIf(isRoot)("npm start as root", () => {
  test("O01: works in a home that no other user may enter, prints where the data is, and finds it again", async () => {
    const home = await temporaryFolder();
    await chmod(home, 0o700);
    const checkout = join(home, "innkeep");
    await copyCheckout(checkout);
    const dataDir = join(checkout, ".innkeep");
    const first = await start(checkout, dataDir);
    const outside = dirname(await readlink(join(dataDir, "postgres")));
    try {
      expect(first.output()).toContain(`may not enter ${dataDir}: its data is in ${outside}/postgres\n`);
      expect(await call(first.info, "GET", "/v1/tenants/stats")).toMatchObject({ body: { total: 12 } });
      expect((await stat(join(outside, "postgres"))).mode & 0o777).toBe(0o700);
      const parts = await partsOf(dataDir);
      first.kill("SIGKILL");
      await first.ended;
      const second = await start(checkout, dataDir);
      expect(await areAlive(parts)).toEqual([false, false]);
      expect(second.output()).not.toContain("creating a database");
      expect(await call(second.info, "GET", "/v1/tenants/stats")).toMatchObject({ body: { total: 12 } });
      await stopStack(second);
    } finally {
      await rm(outside, { recursive: true, force: true });
    }
    const { code, output } = await finish(await program(checkout, ["--data", dataDir]));
    expect(code).toBe(1);
    expect(output).toContain(
      `innkeep: ${dataDir}/postgres links to ${outside}/postgres, which does not exist: restore that directory, or remove`,
    );
  });

  test("O01: leaves nothing outside that home after an ephemeral start", async () => {
    const home = await temporaryFolder();
    await chmod(home, 0o700);
    const dataDir = join(home, "data");
    const stack = await start(ROOT, dataDir, {}, ["--ephemeral", "--seed", "none"]);
    const outside = dirname(await readlink(join(dataDir, "postgres")));
    await stopStack(stack);
    expect(await readdir(home)).toEqual([]);
    await expect(stat(outside)).rejects.toMatchObject({ code: "ENOENT" });
  });
});

describe.runIf(isRoot && await isOpenToAll())("npm start as one user after another", () => {
  test("O01: works for the user after root and for root after the user; all files belong to the user", async () => {
    const checkout = join(await temporaryFolder(), "innkeep");
    await copyCheckout(checkout);
    await chown(checkout, NOBODY.uid, NOBODY.gid);
    const dataDir = join(checkout, ".innkeep");
    for (const place of [{}, NOBODY, {}]) {
      const stack = await start(checkout, dataDir, place);
      expect(await call(stack.info, "GET", "/v1/tenants/stats")).toMatchObject({ body: { total: 12 } });
      expect(await ownersIn(dataDir)).toEqual([NOBODY.uid]);
      await stopStack(stack);
      expect(await ownersIn(dataDir)).toEqual([NOBODY.uid]);
    }
  });

  test("O01: refuses root's directory to a user in one line", async () => {
    const folder = await temporaryFolder();
    await stopStack(await start(ROOT, join(folder, "data"), {}, ["--seed", "none"]));
    const { code, output } = await finish(await program(ROOT, ["--data", join(folder, "data")], NOBODY));
    expect(code).toBe(1);
    expect(output).toBe(
      `Innkeep is starting\ninnkeep: ${folder}/data/innkeep.json belongs to another user: run this command as that user, or choose another directory with --data\n`,
    );
  });

  test("O01: works in a read-only checkout with --data elsewhere", async () => {
    const checkout = join(await temporaryFolder(), "innkeep");
    await copyCheckout(checkout);
    const folder = await temporaryFolder();
    await chown(folder, NOBODY.uid, NOBODY.gid);
    const stack = await start(checkout, join(folder, "data"), NOBODY, ["--seed", "none"]);
    expect(await call(stack.info, "GET", "/ready")).toMatchObject({ status: 200 });
    await stopStack(stack);
    const { code, output } = await finish(await program(checkout, [], NOBODY));
    expect(code).toBe(1);
    expect(output).toContain(`innkeep: ${checkout}/.innkeep cannot be used as the data directory (`);
    expect(output.trim().split("\n")).toHaveLength(2);
  });

  test.each([["docs", "docs/data-model.md"], ["schema", "supabase/schemas/95_declared.sql"]])(
    "O19: npm run %s names the file that it may not write in one line",
    async (name, file) => {
      const { code, output } = await finish(await script(name, ROOT, [], NOBODY));
      expect({ code, output }).toEqual({
        code: 1,
        output: `innkeep: ${
          join(ROOT, file)
        }: permission denied: run this command as the owner of this path, or, for the data directory, choose another with --data\n`,
      });
    },
  );
});
