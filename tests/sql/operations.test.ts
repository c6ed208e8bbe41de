import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { read } from "../architecture/sources.ts";
import { openTestContext } from "../support/test-context.ts";
import { withClient } from "../support/client.ts";
import { startCluster } from "../support/cluster.ts";
import type { PostgresMajor } from "../support/cluster.ts";
import { migrate, postgresMajor, urlFor } from "../support/postgres.ts";
import { ROLE_PASSWORD } from "../support/roles.ts";

/** The SQL statements of the operations page. */
const page = read("docs/operations.md");
const typed = [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql]) => sql ?? "");
const containing = (words: string) => typed.find((sql) => sql.includes(words)) ?? "";

const DAY_MS = 24 * 3_600_000;
let context: Awaited<ReturnType<typeof openTestContext>>;
let admin: pg.Client;
beforeAll(async () => {
  context = await openTestContext();
  admin = new pg.Client({ connectionString: context.database.superUrl });
  await admin.connect();
});
afterAll(async () => {
  await admin.end();
  await context.close();
});

async function rolledBack<T>(work: () => Promise<T>): Promise<T> {
  await admin.query("begin");
  try {
    return await work();
  } finally {
    await admin.query("rollback");
  }
}

test("A08: the SQL of the operations page reports each broken link of an audit chain, and none in intact chains", async () => {
  // The database deletes no entry that is younger than 30 days by its own clock.
  context.clock.advance(-800 * DAY_MS);
  const { id } = await context.tenant();
  for (const name of ["One", "Two"]) await context.TenantService.update(id, { name });
  const faults = async () => (await admin.query<{ scope: string; key: string }>(containing("kv.chains"))).rows;
  expect(await faults()).toEqual([]);
  const damage = async (sql: string) =>
    await rolledBack(async () => {
      await admin.query("set local session_replication_role = replica");
      await admin.query(sql.replace("MINE", `key like 'audit:%' and owner = '${id}'`));
      return await faults();
    });
  const middle = await damage("delete from kv.entries where MINE and value->>'seq' = '2'");
  expect(middle).toEqual([{ scope: id, key: expect.stringMatching(/^audit:/) as string }]);
  expect(await damage("delete from kv.entries where MINE and value->>'seq' = '3'")).toEqual([{ scope: id, key: "missing at the end" }]);
  expect(await damage("delete from kv.entries where MINE")).toEqual([{ scope: id, key: "missing at the end" }]);
  // What retention deletes is not missing.
  await context.RetentionService.upsert("short", { type: "audit-entry", retentionDays: 30, action: "delete", enabled: true });
  context.clock.advance(31 * DAY_MS);
  await context.TenantService.update(id, { name: "Three" });
  while (!(await context.RetentionService.run()).complete);
  const kept = (await admin.query("select from kv.entries where owner = $1 and key like 'audit:%'", [id])).rowCount;
  expect(kept).toBe(1);
  expect(await faults()).toEqual([]);
  const shorter = await damage("delete from kv.entries where key like 'checkpoint:%' and value->>'kind' = 'base'");
  expect(shorter.map(({ scope }) => scope)).toContain(id);
  context.clock.advance((800 - 31) * DAY_MS);
});

test("R14: the SQL of the operations page reopens the bootstrap of a platform without administrators", async () => {
  const first = { userId: "lost", email: "lost@innkeep.example" };
  await context.AdminUserService.bootstrap(first);
  await admin.query(containing("admin:<user id>").replace("<user id>", "lost"));
  expect(await context.AdminUserService.get("lost")).toMatchObject({ enabled: false });
  await context.AdminUserService.assertBootstrapOpen();
});

test("O02: the other SQL of the operations page runs as written", async () => {
  const sizes = await admin.query<{ family: string }>(containing("pg_size_pretty"));
  expect(sizes.rows.map(({ family }) => family)).toContain("tenant");
  const state = /25006.*`(show [^`]*)`/.exec(page)?.[1] ?? "";
  await admin.query(state);
  expect(typed).toHaveLength(9);
});

test("O02: the SQL for a restored backup leaves a gap in the versions and in the numbers of the events", async () => {
  const key = "eventhead:current";
  await admin.query(
    `insert into kv.entries (key, value, version, cascades, created_at, updated_at)
     values ($1, '{"seq": 7}', nextval('kv.versions'), false, now(), now())`,
    [key],
  );
  const before = await admin.query<{ version: string }>("select version from kv.entries where key = $1", [key]);
  await admin.query(containing("eventhead:current"));
  const after = await admin.query<{ seq: number; version: string }>(
    "delete from kv.entries where key = $1 returning (value->>'seq')::int as seq, version",
    [key],
  );
  expect(after.rows[0]?.seq).toBe(1_000_007);
  expect(Number(after.rows[0]?.version) - Number(before.rows[0]?.version)).toBeGreaterThan(1_000_000);
});

test("O02: the SQL of the operations page shows the waiter and the holder of a lock, and ends the holder", async () => {
  const holder = new pg.Client({ connectionString: context.database.superUrl });
  const ended = new Promise((resolve) => holder.on("error", resolve));
  await holder.connect();
  await holder.query("begin; lock table kv.entries_plan");
  const { rows: [backend] } = await holder.query<{ pid: number }>("select pg_backend_pid() as pid");
  const waiting = context.PlanService.list();
  const holders = async () =>
    (await admin.query<{ pg_blocking_pids: number[] }>(containing("cardinality"))).rows.flatMap((row) => row.pg_blocking_pids);
  await expect.poll(holders).toContain(backend?.pid);
  await admin.query(containing("pg_terminate_backend").replace("<pid>", String(backend?.pid)));
  expect((await waiting).data).not.toEqual([]);
  await ended;
});

test.each([
  ["a new server", ["create role anon"]],
  ["the server of a restore", ["create role anon", "create role kv_service"]],
])("O02: with the roles of the operations page, %s can be migrated by the owner and called by the application", async (_, blocks) => {
  const cluster = await startCluster({ major: postgresMajor() as PostgresMajor });
  await withClient(cluster.superUrl, async (client) => {
    for (const block of blocks) await client.query(containing(block).replaceAll("<password>", ROLE_PASSWORD));
    await client.query("create database innkeep owner innkeep_owner");
  });
  expect(await migrate(urlFor(cluster.superUrl, "innkeep", "innkeep_owner"))).toHaveLength(1);
  await withClient(urlFor(cluster.superUrl, "innkeep", "innkeep_app"), (client) => client.query("select public.kv_ping()"));
  await cluster.remove();
});
