import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { read } from "../architecture/sources.ts";
import { openTestContext } from "../services/test-context.ts";

/** The SQL the on-call page tells people to type. */
const typed = [...read("docs/operations.md").matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql]) => sql ?? "");
const containing = (words: string) => typed.find((sql) => sql.includes(words)) ?? "";

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

test("A08: the on-call page's SQL finds no fault in whole chains, and each link that was cut", async () => {
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
});

test("R14: the on-call page's SQL opens the bootstrap again for a platform that is locked out", async () => {
  const first = { userId: "lost", email: "lost@innkeep.example" };
  await context.AdminUserService.bootstrap(first);
  await admin.query(containing("admin:<user id>").replace("<user id>", "lost"));
  expect(await context.AdminUserService.get("lost")).toMatchObject({ enabled: false });
  await context.AdminUserService.assertBootstrapOpen();
});

test("O02: the rest of the on-call page's SQL runs as it stands", async () => {
  const sizes = await admin.query<{ family: string }>(containing("pg_size_pretty"));
  expect(sizes.rows.map(({ family }) => family)).toContain("tenant");
  await rolledBack(() => admin.query(containing("create role").replaceAll("innkeep_app", "innkeep_typed")));
  expect(typed).toHaveLength(4);
});
