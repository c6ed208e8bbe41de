import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { emptyDatabase, freshDatabase } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { cleanUp, finish, runLocal } from "./stack.ts";
import type { Program } from "./stack.ts";

const ISO = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`;
const BUILDER = `select pid from pg_stat_activity where datname = current_database() and query like 'create index concurrently%'`;

let database: TestDatabase;
let admin: pg.Client;
/** A session with a long-running read. */
let reader: pg.Client;

beforeAll(async () => {
  database = await freshDatabase();
  admin = await connected(database.superUrl);
  reader = await connected(`${database.ownerUrl}?application_name=report`);
  // The state after a migration that adds an index to a family that is large according to the statistics.
  await admin.query("update pg_class set reltuples = 200000 where oid = 'kv.entries_plan'::regclass");
  const owner = await connected(database.ownerUrl);
  await owner.query("select kv.add_index('plan', 'price number, name text')");
  await owner.end();
});
afterEach(cleanUp);
afterAll(async () => {
  await Promise.all([admin.end(), reader.end()]);
  await database.drop();
});

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

const migrate = (...args: readonly string[]): Program => runLocal("migrate", args, { DATABASE_URL: database.ownerUrl });

async function pidOf(client: pg.Client): Promise<number> {
  const { rows: [backend] } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  return backend?.pid ?? 0;
}

async function builders(): Promise<number[]> {
  return (await admin.query<{ pid: number }>(BUILDER)).rows.map(({ pid }) => pid);
}

async function index(): Promise<{ readonly oid: number; readonly valid: boolean } | undefined> {
  const { rows: [found] } = await admin.query<{ oid: number; valid: boolean }>(
    "select indexrelid as oid, indisvalid as valid from pg_index where indexrelid = to_regclass('kv.plan_price_name')",
  );
  return found;
}

describe("npm run migrate, during a long-running read", () => {
  test("O19: lists what is pending in a dry run", async () => {
    expect(await finish(migrate("--dry-run"))).toEqual({ code: 0, output: "would build index plan_price_name\n" });
  });

  test("O19: prints which session it waits for, tells a second run who builds since when, and ends in the database when killed", async () => {
    await reader.query("begin isolation level repeatable read; select 1");
    const run = migrate();
    await run.waitFor(`held open by pid ${await pidOf(reader)} (innkeep_owner, report, idle in transaction) since 20`);
    const [builder] = await builders();
    expect(await finish(migrate())).toMatchObject({
      code: 1,
      output: expect.stringMatching(
        new RegExp(
          `^innkeep: Another run is building indexes and rollups \\(pid ${builder}, connected since ${ISO}\\)\\. Wait for it to end, `,
        ),
      ),
    });
    run.kill("SIGKILL");
    await expect.poll(builders, { timeout: 5_000 }).toEqual([]);
    expect(await index()).toMatchObject({ valid: false });
  });

  test("O19: waits in one build as long as necessary when repeated, and completes it", async () => {
    const run = migrate();
    await run.waitFor("waiting for a transaction that began earlier, held open");
    const building = await index();
    await sleep(11_000); // longer than any lock may be waited for elsewhere
    expect(await index()).toEqual(building);
    expect(building).toMatchObject({ valid: false });
    await reader.query("commit");
    const { code, output } = await finish(run);
    expect([code, output.split("\n").at(-2)]).toEqual([0, "built index plan_price_name"]);
    expect(output).not.toContain("nothing to apply");
    expect(await index()).toEqual({ ...building, valid: true });
  });

  test("O19: prints that it waits for another migration", async () => {
    const empty = await emptyDatabase();
    const other = await connected(empty.ownerUrl);
    await other.query("begin; select pg_advisory_xact_lock(hashtextextended('innkeep migrations', 0))");
    const run = runLocal("migrate", [], { DATABASE_URL: empty.ownerUrl });
    await run.waitFor(`waiting for another migration, run by pid ${await pidOf(other)} (innkeep_owner, idle in transaction) since 20`);
    await other.end();
    expect(await finish(run)).toMatchObject({ code: 0, output: expect.stringMatching(/\napplied \d{14}_store\n$/) });
    await empty.drop();
  });
});
