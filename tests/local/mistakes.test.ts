import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { externalDatabase } from "../../functions/local/database.ts";
import { withClient } from "../support/client.ts";
import { startCluster } from "../support/cluster.ts";
import { PGBOUNCER, startPgBouncer } from "../support/pgbouncer.ts";
import { emptyDatabase, freshDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { cleanUp, finish, runLocal, temporaryFolder, unusedPort } from "./stack.ts";

let migrated: TestDatabase;
let empty: TestDatabase;
beforeAll(async () => {
  migrated = await freshDatabase();
  empty = await emptyDatabase();
});
afterEach(cleanUp);
afterAll(async () => void await Promise.all([migrated.drop(), empty.drop()]));

const ADMIN = ["--email", "ops@innkeep.example", "--user-id", "ops"];

/** The one line that a program prints about an error. */
async function lineOf(
  program: "migrate" | "bootstrap-admin" | "start",
  env: Readonly<Record<string, string>>,
  admin = ADMIN,
): Promise<string> {
  const args = {
    migrate: [],
    "bootstrap-admin": admin,
    start: ["--data", `${await temporaryFolder()}/data`, "--port", String(await unusedPort())],
  }[program];
  const { code, output } = await finish(runLocal(program, args, env));
  const said = output.split("\n").filter((line) => line.startsWith("innkeep: ") || /^\s+at |Error\b/.test(line));
  expect([code, said.length, output]).toEqual([1, 1, output]);
  return said[0] ?? "";
}

describe("an error is one line that says what to do", () => {
  test.each(["migrate", "bootstrap-admin", "start"] as const)("O19: %s with an invalid DATABASE_URL", async (program) => {
    for (const url of ["innkeep", "mysql://root:secret-word@127.0.0.1/innkeep"]) {
      expect(await lineOf(program, { DATABASE_URL: url })).toBe(
        "innkeep: DATABASE_URL must be a URL beginning with postgres:// or postgresql://",
      );
    }
  });

  test.each(["migrate", "bootstrap-admin", "start"] as const)("O19: %s on a database that does not exist", async (program) => {
    const url = migrated.ownerUrl.replace(migrated.name, "innkeep_nowhere");
    expect(await lineOf(program, { DATABASE_URL: url })).toContain('database "innkeep_nowhere" does not exist');
  });

  test("O19: migrate and bootstrap-admin with a login without rights", async () => {
    const name = `innkeep_plain_${empty.name.slice(-6)}`;
    await withClient(empty.superUrl, (client) => client.query(`create role ${name} login bypassrls password 'innkeep'`));
    const plain = (url: string) => url.replace("innkeep_owner", name);
    expect(await lineOf("migrate", { DATABASE_URL: plain(empty.ownerUrl) })).toMatch(
      /permission denied .*\(SQLSTATE 42501\): the login of DATABASE_URL may not do this: migrate as the owner of the database/,
    );
    expect(await lineOf("bootstrap-admin", { DATABASE_URL: plain(migrated.ownerUrl) })).toContain(
      "a member of service_role.",
    );
    await withClient(empty.superUrl, (client) => client.query(`drop role ${name}`));
  });

  test("O19: migrate on a server without Supabase's roles", async () => {
    const cluster = await startCluster();
    expect(await lineOf("migrate", { DATABASE_URL: cluster.superUrl })).toMatch(
      /role "\w+" does not exist \(SQLSTATE 42704\): create the roles first; docs\/operations.md has the statements/,
    );
    await cluster.remove();
  });

  test("O19: bootstrap-admin before the migrations", async () => {
    expect(await lineOf("bootstrap-admin", { DATABASE_URL: empty.ownerUrl })).toMatch(/function public\.kv_\w+\(.*\) does not exist/);
  });
});

describe("bootstrap-admin", () => {
  test("O19: names an invalid value by its option", async () => {
    expect(await lineOf("bootstrap-admin", { DATABASE_URL: migrated.ownerUrl }, ["--email", "ops", "--user-id", "o p s"])).toMatch(
      /^innkeep: (?=.*--email must be an email address)(?=.*--user-id must be 1-128 characters)/,
    );
  });

  test("R14: reads DATABASE_URL as the API does: port 6543 or INNKEEP_DB_POOLER means a transaction pooler", () => {
    const url = (port: number) => `postgres://innkeep_app@db.example.com:${port}/innkeep`;
    expect(externalDatabase({ DATABASE_URL: url(6543) })).toMatchObject({ connectionString: url(6543), prepare: false });
    expect(externalDatabase({ DATABASE_URL: url(5432) })).toMatchObject({ prepare: true, timeoutMs: 15_000 });
    expect(externalDatabase({ DATABASE_URL: url(5432), INNKEEP_DB_POOLER: "true", INNKEEP_DB_TIMEOUT_MS: "900" })).toMatchObject({
      prepare: false,
      timeoutMs: 900,
    });
    expect(externalDatabase({ INNKEEP_DB_POOLER: "true" })).toBeNull();
  });

  const reason = PGBOUNCER ? null : "PgBouncer is not installed (apt-get install pgbouncer)";
  if (reason) console.info(`bootstrap-admin through PgBouncer is not tested here: ${reason}`);

  test.skipIf(reason !== null)(
    "R14: creates the first administrator through a stock pooler, and within a minute says when to try again",
    async () => {
      const pooler = await startPgBouncer(PGBOUNCER ?? "", inject("postgres").superUrl);
      const env = { DATABASE_URL: pooler.urlOf(migrated.appUrl), INNKEEP_DB_POOLER: "true" };
      expect(await finish(runLocal("bootstrap-admin", ADMIN, env))).toMatchObject({
        code: 0,
        output: expect.stringContaining("ops (ops@innkeep.example) is super_admin"),
      });
      await withClient(migrated.superUrl, (client) =>
        client.query(
          `update kv.entries set value = jsonb_set(value, '{enabled}', 'false'), version = nextval('kv.versions') where key = 'admin:ops'`,
        ));
      expect(await lineOf("bootstrap-admin", env)).toMatch(/^innkeep: Another bootstrap ran within the last minute\. Try again at \d{4}-/);
      await pooler.close();
    },
  );
});
