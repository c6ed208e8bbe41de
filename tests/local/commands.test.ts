import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { MIGRATIONS_DIR } from "../../functions/local/migrations.ts";
import { systemErrorMessage } from "../../functions/local/system-errors.ts";
import { ROOT } from "../architecture/sources.ts";
import { areAlive, cleanUp, DENO, finish, run, runLocal, temporaryFolder } from "./stack.ts";

afterEach(cleanUp);

/** The files of the programs in package.json. */
const PROGRAMS = [
  "functions/local/start.ts",
  "functions/local/token.ts",
  "functions/local/jobs.ts",
  "functions/local/migrate.ts",
  "functions/local/bootstrap-admin.ts",
  "functions/local/schema.ts",
  "functions/local/docs.ts",
  "functions/local/check.ts",
  "functions/local/verify.ts",
  "functions/local/verify-archive.ts",
  "functions/local/verify-export.ts",
  "tests/bench/run.ts",
];
const program = async (file: string, ...args: readonly string[]) => await finish(run(DENO, ["run", "-A", file, ...args]));

describe("every program", () => {
  test.each(PROGRAMS)("O01: %s prints its help with --help and -h, and does nothing else", async (file) => {
    for (const option of ["--help", "-h"]) {
      const { code, output } = await program(file, option);
      expect({ code, output }).toMatchObject({ code: 0, output: expect.stringMatching(/^npm (start|run )/) });
      expect(output).toContain("--help");
    }
  });

  test.each(PROGRAMS)("O01: %s refuses an unknown option in one line", async (file) => {
    expect(await program(file, "--prot", "9000")).toEqual({ code: 1, output: "innkeep: Unknown option '--prot'; see --help\n" });
  });
});

describe("npm run check and npm run verify", () => {
  const start = (tools: string) =>
    run(DENO, [
      "eval",
      `import { runProgram } from "./functions/local/refusal.ts"; import { runTools } from "./functions/local/tools.ts";
       import { stopSignal } from "./functions/local/stop-signal.ts"; await runProgram(() => runTools(${tools}, stopSignal()));`,
    ]);
  const ran = async (tools: string) => await finish(start(tools));

  test("O01: run every tool to its end, also after a failure, and name the failed ones in the last line", async () => {
    const { code, output } = await ran(`[{ program: "deno", args: ["eval", "Deno.exit(3)"] },
      { program: "tsc", args: ["--version"] }, { program: "deno", args: ["fmt", "--no-such-option"] }]`);
    expect(code).toBe(1);
    expect(output).toMatch(/^deno eval FAILED in \d+\.\d s$/m);
    expect(output).toMatch(/^Version \d[^\n]*\ntsc passed in \d+\.\d s$/m);
    expect(output).toContain("innkeep: failed: deno eval, deno fmt; the output of each is above its line\n");
  });

  test("O01: run two tools at a time, and print the output of each above its line", async () => {
    const talker = (name: string) =>
      `{ program: "deno", args: ["eval", "for (let i = 0; i < 5; i++) { console.log('${name}', i); await new Promise((go) => setTimeout(go, 100)); }"] }`;
    const { code, output } = await ran(`[${talker("one")}, ${talker("two")}]`);
    const piece = (name: string) => `${Array.from({ length: 5 }, (_, i) => `${name} ${i}\n`).join("")}deno eval passed in `;
    expect(code).toBe(0);
    for (const name of ["one", "two"]) expect(output).toContain(piece(name));
    const [each, all] = [...output.matchAll(/passed in (\d+\.\d) s/g)].map(([, seconds]) => Number(seconds)).toSorted((a, b) => a - b);
    expect(all).toBeLessThan((each ?? 0) * 2);
  });

  test("O01: report a missing program in one line that says how to install it", async () => {
    const { code, output } = await ran(`[{ program: "no-such-tool", args: [] }]`);
    expect({ code, output }).toEqual({
      code: 1,
      output: expect.stringMatching(/^innkeep: no-such-tool cannot be run \(.*\): run npm ci\n$/),
    });
  });

  test.each([1, 3])(
    "O01: stop the running ones of %i tools on SIGTERM, start no other, and report no error",
    async (count) => {
      const begun = join(await temporaryFolder(), "begun");
      const tool = {
        program: "deno",
        args: ["eval", `Deno.writeTextFileSync(${JSON.stringify(begun)}, Deno.pid + " ", { append: true }); setInterval(() => 0, 1000)`],
      };
      const program = start(JSON.stringify(Array(count).fill(tool)));
      const pids = async () => (await readFile(begun, "utf8").catch(() => "")).trim().split(" ").map(Number);
      const together = Math.min(count, 2);
      while ((await pids()).filter(Boolean).length < together) await sleep(20);
      program.kill("SIGTERM");
      expect(await finish(program)).toEqual({ code: 130, output: "" });
      expect(await areAlive(await pids())).toEqual(Array(together).fill(false));
    },
  );

  test.each([
    [["run", "-s", "check", "--", "--help"], "npm run check"],
    [["run", "-s", "verify", "--", "--help"], "npm run verify"],
    [["test", "-s", "--", "--help"], "vitest/"],
  ])("O01: npm %j prints its help and runs no check or test", async (args, beginning) => {
    const { code, output } = await finish(run("npm", args));
    expect({ code, output }).toMatchObject({ code: 0, output: expect.stringContaining(beginning) });
    expect(output).not.toMatch(/(passed|FAILED) in | RUN /);
  });
});

describe("a refusal", () => {
  test.each(["-1", "0", "65536", "80.5"])("O01: of --port %s is one line with the allowed values", async (port) => {
    const { code, output } = await finish(runLocal("start", ["--port", port]));
    expect({ code, output }).toEqual({ code: 1, output: `innkeep: --port must be a number from 1 to 65535, not ${port}\n` });
  });

  test("O01: of an option without its value is one line", async () => {
    const { code, output } = await finish(runLocal("start", ["--port", "--ephemeral"]));
    expect({ code, output }).toEqual({ code: 1, output: "innkeep: Option '--port' argument is ambiguous; see --help\n" });
  });

  test.each([
    ["functions/local/verify.ts", ["tests/http/lists.test.ts"], "Unexpected argument 'tests/http/lists.test.ts'; see --help"],
    ["functions/local/verify.ts", ["--project", "pg16"], "--project must be pg18 or pg17, not pg16"],
    ["functions/local/verify.ts", ["--bail", "one"], "--bail must be a number from 1, not one"],
    ["tests/bench/run.ts", ["point", "--before=/nowhere"], "--before must be a checkout of this project, not /nowhere"],
  ])("O01: of %s %j is one line, before anything runs", async (file, args, message) => {
    expect(await program(file, ...args)).toEqual({ code: 1, output: `innkeep: ${message}\n` });
  });

  test.each(["Doors", "front door", "../doors", ""])(
    "O19: of npm run schema -- --name %j names the allowed characters, and nothing is written",
    async (name) => {
      const before = await readdir(MIGRATIONS_DIR);
      const { code, output } = await finish(runLocal("schema", [`--name=${name}`]));
      const rule = "lower-case letters, digits and underscores";
      expect({ code, output }).toEqual({ code: 1, output: `innkeep: --name must consist of ${rule}, not ${JSON.stringify(name)}\n` });
      expect(await readdir(MIGRATIONS_DIR)).toEqual(before);
      expect((await finish(runLocal("schema", ["--help"]))).output).toContain(rule);
    },
  );

  test.runIf(process.platform === "linux")("O01: for a file system error is one line that says what to do", async () => {
    const said = async (work: string) => {
      const script = `import { runProgram } from "./functions/local/refusal.ts"; import { mkdir, writeFile } from "node:fs/promises";
        await runProgram(() => ${work});`;
      return await finish(run(DENO, ["eval", script]));
    };
    expect(await said('mkdir("/sys/doors")')).toMatchObject({
      code: 1,
      output: expect.stringMatching(/^innkeep: \/sys\/doors: [^\n]+\n$/),
    });
    expect(await said('writeFile("/dev/full", "x")')).toEqual({ code: 1, output: "innkeep: the disk is full: free some space\n" });
  });

  test("O01: for a file system error names the path", () => {
    const message = (code: string, path?: string) => systemErrorMessage(Object.assign(new Error("x"), { code }, path && { path }));
    expect(message("ENOSPC", "/data/a")).toBe("/data/a: the disk is full: free some space");
    expect(message("EROFS", "/data/a")).toContain("/data/a: the file system is read-only");
    expect(message("EACCES")).toBeNull();
    expect(message("ENOENT", "/data/a")).toBeNull();
  });
});

test("O01: npm runs the programs that these tests run", async () => {
  const { scripts } = (await import(join(ROOT, "package.json"), { with: { type: "json" } }) as {
    readonly default: { readonly scripts: Readonly<Record<string, string>> };
  }).default;
  const files = Object.values(scripts).flatMap((script) => /deno run -A (\S+)$/.exec(script)?.[1] ?? []);
  expect(files.sort()).toEqual([...PROGRAMS].sort());
});
