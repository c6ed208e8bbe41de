import { execFile } from "node:child_process";
import { promisify } from "node:util";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readMigrations } from "../../functions/local/migrations.ts";
import { migrate } from "../../shared/adapters/migrator.ts";
import type { Migration } from "../../shared/adapters/migrator.ts";
import { buildPending } from "../../shared/adapters/pending-builds.ts";
import { withClient } from "../support/client.ts";
import { ownCluster } from "../support/own-cluster.ts";
import type { OwnCluster } from "../support/own-cluster.ts";
import { emptyDatabase, freshDatabase, postgresMajor, urlFor } from "../support/postgres.ts";

const ROOMS: Migration = {
  version: "20991231000000",
  name: "rooms",
  sql: `select kv.add_family('room');
    select kv.add_entity('room', 'room', 2, owner_rule => 'segment');
    select kv.add_index('room', 'name text');
    select kv.add_rollup('room', '{kind}');
    select kv.attach_families();
    insert into kv.migrations (version, name) values ('20991231000000', 'rooms');`,
};

const dumper = await run("pg_dump", ["--version"]).then(({ stdout }) => Number(/\d+/.exec(stdout)?.[0]), () => 0);
const reason = dumper === 0 ? "pg_dump is not installed" : dumper < postgresMajor() ? `pg_dump ${dumper} is older than the server` : null;
if (reason) console.info(`the restore of a dump is not tested here: ${reason}`);

/** A separate server, because these tests change roles, which belong to the server. */
let own: OwnCluster;
let admin: pg.Client;
beforeAll(async () => {
  own = await ownCluster();
  admin = new pg.Client({ connectionString: own.database.superUrl });
  await admin.connect();
});
afterAll(async () => {
  await admin.end();
  await own.cluster.remove();
});

function run(program: string, args: readonly string[]) {
  return promisify(execFile)(program, [...args], { maxBuffer: 100_000_000 });
}

async function migrateAs(url: string, migrations: readonly Migration[] = []): Promise<string[]> {
  return await withClient(url, async (client) => {
    return (await migrate(client, [...await readMigrations(), ...migrations])).map(({ version }) => version);
  });
}

describe("a restored database", () => {
  test("O19: is migrated by the owner of its tables, although the database belongs to another role", async () => {
    const database = await freshDatabase();
    await withClient(database.superUrl, (client) => client.query(`alter database ${database.name} owner to postgres`));
    expect(await migrateAs(database.ownerUrl, [ROOMS])).toEqual([ROOMS.version]);
    await database.drop();
  });

  test.skipIf(reason !== null)("O19: a dump is restored into a new database, which its owner then migrates", async () => {
    const name = `${own.database.name}_restored`;
    const dump = (await run("pg_dump", ["--format=plain", own.database.superUrl])).stdout;
    await admin.query(`create database ${name} owner innkeep_owner`);
    const url = urlFor(own.cluster.superUrl, name);
    const restore = run("psql", ["--quiet", "--set=ON_ERROR_STOP=1", url]);
    restore.child.stdin?.end(dump);
    await restore;
    expect(await migrateAs(urlFor(own.cluster.superUrl, name, "innkeep_owner"), [ROOMS])).toEqual([ROOMS.version]);
  });
});

describe("a role that row-level security applies to", () => {
  const seen = "select count(*)::int as n from kv.entries_plan";
  const bypass = (passes: boolean) => admin.query(`alter role innkeep_owner ${passes ? "bypassrls" : "nobypassrls"}`);
  const refused = {
    code: "invalid_configuration",
    message:
      'Row-level security applies to innkeep_owner, so a migration would miss rows: run as a superuser "alter role innkeep_owner bypassrls".',
  };

  beforeAll(async () => {
    await admin.query(
      "insert into kv.entries values ('plan:one', '{}', 1, null, true, null, now(), now()), ('room:tn_a:1', '{}', 2, null, true, null, now(), now())",
    );
    await admin.query("update pg_class set reltuples = 200000 where oid = 'kv.entries_plan'::regclass");
    await withClient(
      own.database.ownerUrl,
      (owner) => owner.query("select kv.add_index('plan', 'price number, name text'), kv.add_rollup('plan', '{name}')"),
    );
    await bypass(false);
  });
  afterAll(() => bypass(true));

  test("O19: can neither migrate nor build, and the error has the remedy", async () => {
    await withClient(own.database.ownerUrl, async (owner) => {
      expect((await owner.query(seen)).rows).toEqual([{ n: 0 }]);
      await expect(migrate(owner, [...await readMigrations(), ROOMS])).rejects.toMatchObject(refused);
      await expect(buildPending(owner)).rejects.toMatchObject(refused);
    });
  });

  test("O19: that does not own the tables gets an error that names the owner to migrate as", async () => {
    await withClient(own.database.appUrl, async (app) => {
      const { rows: [row] } = await app.query<{ name: string }>("select current_user as name");
      await expect(migrate(app, await readMigrations())).rejects.toMatchObject({
        code: "invalid_configuration",
        message: `Row-level security applies to ${row?.name}, so a migration would miss rows: migrate as the owner, innkeep_owner.`,
      });
    });
  });

  test.each([
    "select kv.fill_rollup('plan', 10)",
    "select kv.has_undeclared('room')",
    "select kv.add_family('room')",
    "select kv.add_entity('plan', 'plan', 1, owner_rule => 'platform', cascades => false)",
    "select kv.drop_rollup('plan')",
  ])("O19: %s is an error for it and does not skip rows", async (call) => {
    await withClient(own.database.ownerUrl, (owner) => expect(owner.query(call)).rejects.toMatchObject({ code: "42501" }));
  });
});

describe("a second owner on one server, as staging beside production", () => {
  test("O19: migrates after a superuser runs the grant that the error names", async () => {
    await admin.query("create role staging_owner login createrole createdb bypassrls password 'innkeep'");
    await admin.query("create database staging owner staging_owner");
    const url = urlFor(own.cluster.superUrl, "staging", "staging_owner");
    const statement = "grant kv_service, kv_tenant, kv_retention to staging_owner";
    if (postgresMajor() >= 16) {
      await expect(migrateAs(url)).rejects.toMatchObject({
        code: "42501",
        message: expect.stringContaining(`run as a superuser "${statement}"`),
      });
    }
    await admin.query(statement);
    expect(await migrateAs(url, [ROOMS])).toContain(ROOMS.version);
  });
});

describe("pg_trgm in a schema of its own", () => {
  test("O01: is found there, and without the privilege to use that schema the error names the grant", async () => {
    const database = await emptyDatabase("", own.cluster.superUrl);
    await withClient(
      database.superUrl,
      (client) => client.query('create schema "Text search"; create extension pg_trgm schema "Text search"'),
    );
    const statement = 'grant usage on schema "Text search" to innkeep_owner';
    await expect(migrateAs(database.ownerUrl)).rejects.toMatchObject({
      code: "42501",
      message: expect.stringContaining(`run as a superuser "${statement}"`),
    });
    await withClient(database.superUrl, (client) => client.query(statement));
    expect(await migrateAs(database.ownerUrl)).toHaveLength(1);
    await database.drop();
  });
});
