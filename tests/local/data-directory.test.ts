import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { openDataDirectory } from "../../functions/local/data-directory.ts";
import { freeBytes } from "../../functions/local/disk-space.ts";
import { dataDirOf } from "../../functions/local/options.ts";
import { freePort } from "../../functions/local/ports.ts";
import { cleanUp, finish, runLocal, temporaryFolder, unusedPort } from "./stack.ts";

afterEach(cleanUp);

/** The one line that a program prints when it refuses to run. */
async function refusal(name: string, ...args: readonly string[]): Promise<string> {
  const { code, output } = await finish(runLocal(name, args));
  expect(code, output).toBe(1);
  const lines = output.split("\n").filter((line) => line !== "" && line !== "Innkeep is starting");
  expect(lines, output).toHaveLength(1);
  return lines[0] ?? "";
}

async function laidOut(): Promise<string> {
  const folder = join(await temporaryFolder(), "data");
  const directory = await openDataDirectory(folder);
  await directory.updateMarker({ seeded: { tenantId: null } });
  await directory.release();
  return folder;
}

describe("a data directory", () => {
  test("O01: with a database but without secrets.json is refused unchanged", async () => {
    const folder = await laidOut();
    await mkdir(join(folder, "postgres"));
    await writeFile(join(folder, "postgres", "PG_VERSION"), "18\n");
    await rm(join(folder, "secrets.json"));
    expect(await refusal("start", "--data", folder)).toContain(`${folder} contains a database, but not its secrets.json: restore it`);
    expect((await readdir(folder)).sort()).toEqual(["innkeep.json", "postgres"]);
  });

  test.each([
    ["innkeep.json", "", "start"],
    ["innkeep.json", '{"format": "one"}', "start"],
    ["secrets.json", '{"superuserPassword": "only thi', "start"],
    ["secrets.json", '{"superuserPassword": "only this"}', "token"],
    ["local.json", "[]", "token"],
  ])("O01: with a damaged %s (%j) is refused by %s in one line that names the file", async (name, text, program) => {
    const folder = await laidOut();
    await writeFile(join(folder, name), text);
    const args = program === "token" ? ["--role", "admin"] : [];
    expect(await refusal(program, "--data", folder, ...args)).toContain(`innkeep: ${join(folder, name)} is damaged: `);
    expect(await readFile(join(folder, name), "utf8")).toBe(text);
  });

  test("O01: that a refused start created is removed, with the parent directories it created", async () => {
    const folder = await temporaryFolder();
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    const line = await refusal("start", "--data", join(folder, "new", "data"), "--port", String(port));
    expect(line).toMatch(new RegExp(`port ${port} is in use by another program: stop that program, or run npm start -- --port \\d+$`));
    expect(await readdir(folder)).toEqual([]);
    await new Promise((resolve) => other.close(resolve));
  });

  test("O01: is named by --data, where ~ is the home directory and an empty name is refused", async () => {
    expect(dataDirOf("~/hotels")).toBe(join(homedir(), "hotels"));
    expect(dataDirOf("~")).toBe(homedir());
    expect(dataDirOf("/srv/~/x")).toBe("/srv/~/x");
    for (const program of ["start", "token", "bootstrap-admin"]) {
      const args = program === "bootstrap-admin" ? ["--email", "a@b.example", "--user-id", "a"] : [];
      expect(await refusal(program, ...args, "--data=")).toContain("--data must not be empty: name a directory");
    }
  });

  test.runIf(existsSync("/proc/self"))("O01: is not called full on a file system without a size", async () => {
    expect(await freeBytes("/proc/innkeep")).toBe(Infinity);
  });

  test("O01: that is missing is not created by npm run token", async () => {
    const folder = join(await temporaryFolder(), "data");
    expect(await refusal("token", "--role", "admin", "--data", folder)).toContain(
      "is not an Innkeep data directory yet: run npm start first",
    );
    expect(existsSync(folder)).toBe(false);
  });
});

test("O01: PostgreSQL never uses the port of the API", async () => {
  const port = await unusedPort();
  expect(await freePort({ preferred: port })).toBe(port);
  expect(await freePort({ preferred: port, except: port })).not.toBe(port);
});
