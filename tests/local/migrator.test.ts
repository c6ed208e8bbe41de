import { afterAll, beforeAll, describe, expect, test } from "vitest";
import pg from "pg";
import { reportingWaits } from "../../shared/adapters/lock-waits.ts";
import { assertSchemaVersion, migrate, SCHEMA_VERSION } from "../../shared/adapters/migrator.ts";
import type { Migration } from "../../shared/adapters/migrator.ts";
import { readMigrations } from "../../functions/local/migrations.ts";
import { withClient } from "../support/client.ts";
import { emptyDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";

/** Each migration of Innkeep records itself. The first one creates the table. */
const recorded = (version: string, name: string) => `insert into kv.migrations (version, name) values ('${version}', '${name}')`;
const FIRST_STATEMENTS = [
  "create table first (id int)",
  "insert into first values (1)",
  "create schema kv",
  "create table kv.migrations (version text primary key, name text not null, digest text)",
  recorded("20300101000000", "first"),
];
const FIRST: Migration = { version: "20300101000000", name: "first", sql: `${FIRST_STATEMENTS.join(";\n")};\n` };
const SECOND: Migration = {
  version: "20300102000000",
  name: "second",
  sql: `create table second (id int); create schema if not exists kv;
    create table if not exists kv.migrations (version text primary key, name text not null, digest text); ${
    recorded("20300102000000", "second")
  };`,
};
/** Adds migrations that an application in the same project has applied with the Supabase CLI. */
const FOREIGN = ["20300101120000", "20991231000000"];
const BROKEN: Migration = { version: "20300103000000", name: "broken", sql: "create table third (id int); select 1 / 0;" };

let database: TestDatabase;
beforeAll(async () => void (database = await emptyDatabase()));
afterAll(() => database.drop());

/** Each test begins without tables and without recorded migrations. */
async function withEmpty<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  return await withClient(database.ownerUrl, async (client) => {
    await client.query("drop table if exists first, second, third; drop schema if exists supabase_migrations, kv cascade");
    return await work(client);
  });
}

const versions = (migrations: readonly Migration[]) => migrations.map(({ version }) => version);

async function tables(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "select relname as name from pg_class where relname in ('first', 'second', 'third') order by 1",
  );
  return rows.map(({ name }) => name);
}

describe("migrator", () => {
  test("O19: files are applied once, in the order of their versions, and recorded in the format of the Supabase CLI", () =>
    withEmpty(async (client) => {
      expect(versions(await migrate(client, [SECOND, FIRST]))).toEqual([FIRST.version, SECOND.version]);
      expect(await migrate(client, [FIRST, SECOND])).toEqual([]);
      const { rows } = await client.query("select * from supabase_migrations.schema_migrations order by version");
      expect(rows).toEqual([FIRST, SECOND].map(({ version, name, sql }) => ({ version, name, statements: [sql] })));
    }));

  test("O19: a dry run returns what would be applied and changes nothing", () =>
    withEmpty(async (client) => {
      expect(versions(await migrate(client, [FIRST, SECOND], { dryRun: true }))).toEqual([FIRST.version, SECOND.version]);
      expect(await tables(client)).toEqual([]);
      expect((await client.query("select to_regnamespace('supabase_migrations') as found")).rows).toEqual([{ found: null }]);
    }));

  test("O19: a file that fails is rolled back, and the files before it stay applied", () =>
    withEmpty(async (client) => {
      await expect(migrate(client, [FIRST, BROKEN])).rejects.toThrow(/division by zero/);
      expect(await tables(client)).toEqual(["first"]);
      expect(versions(await migrate(client, [FIRST, BROKEN], { dryRun: true }))).toEqual([BROKEN.version]);
    }));

  test("O19: a file is reported as applied after its commit, and one that fails is not", () =>
    withEmpty(async (client) => {
      const reported: Migration[] = [];
      await expect(migrate(client, [FIRST, BROKEN], { onApplied: (migration) => reported.push(migration) })).rejects.toThrow();
      expect(reported).toEqual([FIRST]);
    }));

  test("O19: a file that waits for a lock reports who holds it and, after its last try, that it is not applied", () =>
    withEmpty(async (client) => {
      await migrate(client, [FIRST]);
      const changing = { ...SECOND, sql: `alter table first add column name text; ${SECOND.sql}` };
      const lines: string[] = [];
      await withClient(`${database.ownerUrl}?application_name=import`, async (holder) => {
        await holder.query("begin; lock table first");
        const { rows: [backend] } = await holder.query<{ pid: number }>("select pg_backend_pid() as pid");
        const report = (line: string) => void lines.push(line);
        const waiting = withClient(
          database.ownerUrl,
          (observer) => reportingWaits(client, observer, report, () => migrate(client, [FIRST, changing], { maxTries: 50 })),
        );
        await expect(waiting).rejects.toMatchObject({
          code: "store_unavailable",
          message: "20300102000000_second is not applied: 50 tries did not get its locks. " +
            "End the session that holds them with pg_terminate_backend, or repeat at a time of less load.",
        });
        expect(lines[0]).toMatch(
          new RegExp(`^waiting for a lock on first, held by pid ${backend?.pid} \\(innkeep_owner, import, idle in transaction\\) since 20`),
        );
      });
      expect(versions(await migrate(client, [FIRST, changing]))).toEqual([SECOND.version]);
    }));

  test("O19: a database with a migration newer than the program is refused unchanged", () =>
    withEmpty(async (client) => {
      await migrate(client, [FIRST, SECOND]);
      await expect(migrate(client, [FIRST])).rejects.toMatchObject({
        code: "schema_mismatch",
        message: expect.stringContaining("20300102000000_second"),
      });
    }));

  test("O19: an applied file that was edited is refused, except for white space", () =>
    withEmpty(async (client) => {
      await migrate(client, [FIRST]);
      expect(await migrate(client, [{ ...FIRST, sql: `\n${FIRST.sql.replaceAll("\n", "\n\n")}` }])).toEqual([]);
      await expect(migrate(client, [{ ...FIRST, sql: FIRST.sql.replace("int", "bigint") }])).rejects.toMatchObject({
        code: "schema_mismatch",
        message: expect.stringContaining("edited"),
      });
    }));

  test("O19: a file that the Supabase CLI applied, split into statements, counts as the same file", () =>
    withEmpty(async (client) => {
      await migrate(client, [FIRST]);
      await client.query("update supabase_migrations.schema_migrations set statements = $1", [FIRST_STATEMENTS]);
      await client.query("update kv.migrations set digest = null");
      expect(versions(await migrate(client, [FIRST, SECOND]))).toEqual([SECOND.version]);
    }));

  test("O19: a file dated before an applied one is refused, and so are two files with one version", () =>
    withEmpty(async (client) => {
      await migrate(client, [SECOND]);
      await expect(migrate(client, [FIRST, SECOND])).rejects.toMatchObject({
        code: "schema_mismatch",
        message: expect.stringContaining("later timestamp"),
      });
      await expect(migrate(client, [SECOND, { ...FIRST, version: SECOND.version }])).rejects.toMatchObject({ code: "schema_mismatch" });
    }));

  test("O19: an application's migrations in the same project are ignored, and no row is added to its table", () =>
    withEmpty(async (client) => {
      await migrate(client, [FIRST]);
      const cli = "supabase_migrations.schema_migrations";
      for (const version of FOREIGN) await client.query(`insert into ${cli} (version, name) values ($1, 'theirs')`, [version]);
      expect(versions(await migrate(client, [FIRST, SECOND]))).toEqual([SECOND.version]);
      expect(await migrate(client, [FIRST, SECOND])).toEqual([]);
      const recordedIn = async (table: string) => (await client.query<Migration>(`select version from ${table} order by version`)).rows;
      expect(versions(await recordedIn("kv.migrations"))).toEqual([FIRST.version, SECOND.version]);
      expect(versions(await recordedIn(cli))).toEqual([FIRST.version, ...FOREIGN]);
      const edited = { ...SECOND, sql: SECOND.sql.replace("second (id int)", "second (id bigint)") };
      await expect(migrate(client, [FIRST, edited], { dryRun: true })).rejects.toMatchObject({
        code: "schema_mismatch",
        message: expect.stringContaining("already applied were edited (20300102000000_second)"),
      });
      await expect(migrate(client, [FIRST])).rejects.toMatchObject({ code: "schema_mismatch" });
    }));

  test.each([["recorded", ["create table theirs (id int)"]], ["not recorded", null]])(
    "O19: an application's migration with the timestamp of one of ours is not taken for it, its statements %s",
    (_, statements) =>
      withEmpty(async (client) => {
        const cli = "supabase_migrations.schema_migrations";
        await client.query(
          `create schema supabase_migrations; create table ${cli} (version text primary key, statements text[], name text)`,
        );
        const theirs = `insert into ${cli} (version, name, statements) values ($1, 'theirs', $2)`;
        for (const { version } of [FIRST, SECOND]) await client.query(theirs, [version, statements]);
        expect(versions(await migrate(client, [FIRST, SECOND]))).toEqual([FIRST.version, SECOND.version]);
        expect(await tables(client)).toEqual(["first", "second"]);
        expect(await migrate(client, [FIRST, SECOND])).toEqual([]);
        expect((await client.query(`select distinct name from ${cli}`)).rows).toEqual([{ name: "theirs" }]);
      }),
  );

  test("O19: eight concurrent runs apply each file once", () =>
    withEmpty(async () => {
      const applied = await Promise.all(
        Array.from({ length: 8 }, () => withClient(database.ownerUrl, (client) => migrate(client, [FIRST, SECOND]))),
      );
      expect(versions(applied.flat()).sort()).toEqual([FIRST.version, SECOND.version]);
    }));

  test("O19: the program is not ready on a database with a newer or older migration", async () => {
    expect(SCHEMA_VERSION).toBe(versions(await readMigrations()).at(-1));
    expect(() => assertSchemaVersion(SCHEMA_VERSION)).not.toThrow();
    expect(() => assertSchemaVersion("20991231000000")).toThrow(
      expect.objectContaining({ code: "schema_mismatch", message: expect.stringContaining("Deploy the newer program") }),
    );
    expect(() => assertSchemaVersion("20000101000000")).toThrow(expect.objectContaining({ code: "schema_mismatch" }));
    expect(() => assertSchemaVersion(null)).toThrow(expect.objectContaining({ code: "schema_mismatch" }));
  });

  test("O19: the project's migrations set up an empty database, and a second run changes nothing", async () => {
    const empty = await emptyDatabase();
    const migrations = await readMigrations();
    await withClient(empty.ownerUrl, async (client) => {
      expect(versions(await migrate(client, migrations))).toEqual(versions(migrations));
      expect(await migrate(client, migrations)).toEqual([]);
    });
    await empty.drop();
  });
});
