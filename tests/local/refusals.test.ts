import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { cleanUp, DENO, finish, run, runLocal, temporaryFolder, unusedPort } from "./stack.ts";

afterEach(cleanUp);

async function refusal(...args: readonly string[]): Promise<string> {
  const { code, output } = await finish(runLocal("start", args));
  expect(code).toBe(1);
  expect(output).not.toMatch(/\n\s+at /);
  return output;
}

describe("npm start refuses", () => {
  test("O01: an unknown option and invalid values", async () => {
    expect(await refusal("--prot", "9000")).toContain("innkeep: Unknown option '--prot'");
    expect(await refusal("--port", "eighty")).toContain("--port must be a number from 1 to 65535, not eighty");
    expect(await refusal("--seed", "everything")).toContain("--seed must be demo or none");
  });

  test("O01: a directory that is not its own, without changing it", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "thesis.txt"), "years of work");
    expect(await refusal("--data", folder)).toContain(`${folder} is not an Innkeep data directory and not empty (it contains thesis.txt)`);
    expect(await readdir(folder)).toEqual(["thesis.txt"]);
  });

  test("O01: all but one of six concurrent starts on one directory", async () => {
    const code = `import { openDataDirectory } from "./functions/local/data-directory.ts";
      openDataDirectory(Deno.args[0]).then(() => { console.log("has it"); setInterval(() => {}, 1000); }, (error) => console.log(error.message));`;
    for (let round = 0; round < 2; round++) {
      const folder = await temporaryFolder();
      const starts = Array.from({ length: 6 }, () => run(DENO, ["eval", code, folder]));
      await expect.poll(() => starts.filter(({ output }) => output().includes("\n")).length, { timeout: 30_000 }).toBe(6);
      const said = starts.map(({ output }) => output());
      expect(said.filter((text) => text.includes("has it")), said.join("")).toHaveLength(1);
      expect(said.filter((text) => text.includes("is in use by another start"))).toHaveLength(5);
      expect((await readdir(folder)).filter((name) => name.startsWith("start.pid"))).toEqual(["start.pid"]);
    }
  });

  test("O01: the data of another PostgreSQL version, and says what to do", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "innkeep.json"), JSON.stringify({ format: 1, postgres: 17 }));
    await mkdir(join(folder, "postgres"));
    await writeFile(join(folder, "postgres", "PG_VERSION"), "17\n");
    const message = await refusal("--data", folder);
    expect(message).toContain("contains data of PostgreSQL 17, and this version of Innkeep runs 18");
    expect(message).toContain(`mv ${folder} ${folder}.old`);
    expect((await readdir(folder)).sort()).toEqual(["innkeep.json", "postgres"]);
  });

  test("O01: a directory that a newer version of Innkeep created", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "innkeep.json"), JSON.stringify({ format: 2, postgres: 18 }));
    expect(await refusal("--data", folder)).toContain("was created by a newer version of Innkeep");
  });

  test("O01: --ephemeral for a directory that contains data", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "innkeep.json"), JSON.stringify({ format: 1, postgres: 18 }));
    expect(await refusal("--data", folder, "--ephemeral")).toContain("--ephemeral removes its data directory at the end");
    expect(await readFile(join(folder, "innkeep.json"), "utf8")).toContain("18");
  });

  test("O01: a database that does not respond, without its password in the message", async () => {
    const folder = await temporaryFolder();
    const { code, output } = await finish(
      runLocal("start", ["--data", folder, "--port", String(await unusedPort())], {
        DATABASE_URL: "postgres://nobody:secret-word@127.0.0.1:1/none",
      }),
    );
    expect(code).toBe(1);
    expect(output).toContain("cannot connect to PostgreSQL at 127.0.0.1:1");
    expect(output).not.toContain("secret-word");
  });
});
