import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { SCHEMA_VERSION } from "../../shared/adapters/migrator.ts";
import { read, ROOT } from "../architecture/sources.ts";
import { withClient } from "../support/client.ts";
import { emptyDatabase, freshDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { cleanUp, finish, run, runLocal, temporaryFolder } from "./stack.ts";

/** The version in docs/operations.md. It is not a dependency: npx fetches it, if possible. */
const CLI = "supabase@3";
const QUIET = { SUPABASE_ACCESS_TOKEN: "", SUPABASE_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", npm_config_update_notifier: "false" };

/** The path of the program that npx fetched. Running it directly is faster. */
const where = { folder: "" };

async function cli(args: readonly string[], cwd = ROOT): Promise<{ readonly code: number | null; readonly output: string }> {
  return await finish(run(join(where.folder, "supabase"), args, QUIET, { cwd }));
}

async function whyMissing(): Promise<string | null> {
  const place = `process.env.PATH.split(path.delimiter)[0]`;
  const program = run("npx", ["--yes", "--loglevel=error", "--fetch-retries=0", `--package=${CLI}`, "--", "node", "-p", place], QUIET);
  const late = setTimeout(() => program.killGroup("SIGKILL"), 50_000);
  const { code, output } = await finish(program);
  clearTimeout(late);
  const last = output.trim().split("\n").at(-1) ?? "";
  if (code !== 0) return code === null ? "npx did not fetch it within 50 s" : last || "npx failed";
  where.folder = last;
  const version = (await cli(["--version"])).output.trim();
  return /^3\./m.test(version) ? null : `npx answers version ${version}`;
}

const reason = await whyMissing();
if (reason) console.info(`the pages are not checked against the Supabase CLI here: ${reason}`);

/** Each `npx supabase@3 …` of the pages: the whole command, its words and its options. */
const PAGES = ["README.md", "docs/operations.md", "docs/jobs.md", "docs/adding-an-entity.md"];
const typed = PAGES.flatMap((page) =>
  [...read(page).matchAll(/npx (supabase@\S+) ([^\n`|;&]+)/g)].map(([, version = "", rest = ""]) => ({ page, version, rest: rest.trim() }))
);
const COMMANDS: readonly string[] = ["login", "link", "db push", "migration list", "migration repair", "secrets set", "functions deploy"];
const commandOf = (rest: string) => COMMANDS.find((command) => rest === command || rest.startsWith(`${command} `));
const optionsOf = (rest: string) => [...rest.matchAll(/(?<=^| )--?[a-z][\w-]*/g)].map(([option]) => option);

describe("docs/operations.md", () => {
  test("O01: names one version of the Supabase CLI and every command of a deployment", () => {
    expect(typed.filter(({ version }) => version !== CLI)).toEqual([]);
    expect(typed.filter(({ rest }) => commandOf(rest) === undefined)).toEqual([]);
    expect(new Set(typed.map(({ rest }) => commandOf(rest)))).toEqual(new Set(COMMANDS));
  });

  test("O01: deploys every function of the configuration, and sets the secret without which one does not start", () => {
    const functions = [...read("supabase/config.toml").matchAll(/^\[functions\.(\w+)\]/gm)].map(([, name = ""]) => name);
    const first = typed.filter(({ page }) => page === "docs/operations.md");
    const deployed = first.find(({ rest }) => commandOf(rest) === "functions deploy")?.rest.split(" ");
    expect(functions.filter((name) => !deployed?.includes(name))).toEqual([]);
    expect(first.find(({ rest }) => commandOf(rest) === "secrets set")?.rest).toContain("JOBS_SECRET=");
  });

  test("O01: names the target of every command that pushes, lists or repairs migrations", () => {
    const onDatabase = typed.filter(({ rest }) => /^(db|migration) /.test(rest));
    expect(onDatabase.filter(({ rest }) => !/ --remote\b/.test(rest))).toEqual([]);
  });

  test("O01: sets no secret whose name begins with SUPABASE_, which the platform refuses", () => {
    const names = typed.flatMap(({ rest }) => [...rest.matchAll(/(?<= )([A-Z_]+)=/g)].map(([, name]) => name ?? ""));
    expect(names).not.toEqual([]);
    expect(names.filter((name) => name.startsWith("SUPABASE_"))).toEqual([]);
  });

  describe.skipIf(reason !== null)("against the CLI itself", () => {
    afterEach(cleanUp);

    test.each(COMMANDS)("O01: supabase %s exists with every option in the documentation", async (command) => {
      const { code, output } = await cli([...command.split(" "), "--help"]);
      expect(code).toBe(0);
      expect(output).toContain(`supabase ${command} [flags]`);
      const used = typed.filter(({ rest }) => commandOf(rest) === command).flatMap(({ rest }) => optionsOf(rest));
      const known = new Set(output.match(/(?<=^\s*|, )--?[a-z][\w-]*/gm));
      expect(used.filter((option) => !known.has(option))).toEqual([]);
    });

    test("O01: db push uses the local stack without --remote, as documented", async () => {
      expect((await cli(["db", "push", "--help"])).output).toMatch(/Local by default\. Pass --remote for the linked project/);
      expect(read("docs/operations.md")).toContain("Without `--remote`, `db push` means the local stack");
    });
  });
});

describe.skipIf(reason !== null)("the Supabase CLI and npm run migrate on one database", () => {
  const databases: TestDatabase[] = [];
  afterEach(cleanUp);
  afterAll(async () => void await Promise.all(databases.map((database) => database.drop())));
  function keep(database: TestDatabase): TestDatabase {
    databases.push(database);
    return database;
  }

  /** Pushes the migrations of a checkout to a database. */
  async function push(checkout: string, { ownerUrl }: TestDatabase): Promise<{ readonly code: number | null; readonly output: string }> {
    return await cli(["db", "push", `--remote=${ownerUrl}`, "--yes"], checkout);
  }
  /** Creates a temporary `supabase` folder: Innkeep's, with its real configuration, or an application's. */
  async function ours(): Promise<string> {
    const folder = await temporaryFolder();
    const isTemporary = (path: string) => /[\\/]supabase[\\/]\./.test(path);
    await cp(join(ROOT, "supabase"), join(folder, "supabase"), { recursive: true, filter: (path) => !isTemporary(path) });
    return folder;
  }
  async function theirs(...versions: readonly string[]): Promise<string> {
    const folder = await temporaryFolder();
    const migrations = join(folder, "supabase", "migrations");
    await mkdir(migrations, { recursive: true });
    await writeFile(join(folder, "supabase", "config.toml"), 'project_id = "application"\n');
    for (const version of versions) await writeFile(join(migrations, `${version}_theirs.sql`), `create table public.t${version} (id int);`);
    return folder;
  }
  const migrate = async ({ ownerUrl }: TestDatabase) => await finish(runLocal("migrate", [], { DATABASE_URL: ownerUrl }));

  test("O19: each recognizes the migrations that the other applied", async () => {
    const pushed = keep(await emptyDatabase());
    expect(await push(await ours(), pushed)).toMatchObject({
      code: 0,
      output: expect.stringContaining(`Applying migration ${SCHEMA_VERSION}`),
    });
    expect(await migrate(pushed)).toEqual({ code: 0, output: "nothing to apply\n" });
    const migrated = keep(await freshDatabase());
    expect(await push(await ours(), migrated)).toMatchObject({ code: 0, output: expect.stringContaining("up to date") });
  });

  test("O19: let an application continue to deploy with the CLI after npm run migrate", async () => {
    const database = keep(await emptyDatabase());
    expect(await push(await theirs("20200101000000"), database)).toMatchObject({ code: 0 });
    expect(await migrate(database)).toMatchObject({ code: 0, output: expect.stringContaining(`applied ${SCHEMA_VERSION}`) });
    const next = await push(await theirs("20200101000000", "20991231000000"), database);
    expect(next).toMatchObject({ code: 0, output: expect.stringContaining("Applying migration 20991231000000_theirs.sql") });
    expect(await migrate(database)).toEqual({ code: 0, output: "nothing to apply\n" });
  });

  test("O19: let a later application deploy after the documented repair of the CLI's table", async () => {
    const database = keep(await freshDatabase());
    const application = await theirs("20200101000000");
    expect(await push(application, database)).toMatchObject({
      code: 1,
      output: expect.stringContaining(`--status reverted ${SCHEMA_VERSION}`),
    });
    const repair = typed.find(({ rest }) => commandOf(rest) === "migration repair")?.rest ?? "";
    const words = repair.replace("<version>", SCHEMA_VERSION).replace("--remote", `--remote=${database.ownerUrl}`).split(" ");
    expect(await cli([...words, "--yes"], application)).toMatchObject({ code: 0 });
    expect(await push(application, database)).toMatchObject({ code: 0 });
    expect(await migrate(database)).toEqual({ code: 0, output: "nothing to apply\n" });
    const { rows } = await withClient(database.ownerUrl, (client) => client.query("select version from kv.migrations"));
    expect(rows).toEqual([{ version: SCHEMA_VERSION }]);
  });
});
