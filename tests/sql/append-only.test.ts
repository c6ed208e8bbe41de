import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";
import { auditKey, auditRecord } from "../kv/contract/samples.ts";

let opened: OpenStore;
let admin: pg.Client;
const KEYS = [auditKey(null, "one"), auditKey("tn_a", "one")];

beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
  admin = new pg.Client({ connectionString: opened.database.superUrl });
  await admin.connect();
  for (const key of KEYS) await opened.store.set(key, auditRecord(key));
});

afterAll(async () => {
  await admin.end();
  await opened.close();
});

async function as(role: string, sql: string, tenant = "tn_a"): Promise<string> {
  await admin.query("begin");
  try {
    await admin.query(`set local role ${role}`);
    await admin.query("select set_config('kv.tenants', $1, true)", [tenant]);
    const { rowCount } = await admin.query(sql);
    return `${rowCount} rows`;
  } catch (error) {
    return (error as pg.DatabaseError).code ?? String(error);
  } finally {
    await admin.query("rollback");
  }
}

const ROLES = ["postgres", "innkeep_owner", "kv_service", "kv_tenant", "service_role", "innkeep_app", "authenticated", "anon"];
const CHANGES = [
  "update kv.entries set value = '{}' where key like 'audit:%'",
  "update kv.entries set key = 'note:moved' where key like 'audit:%'",
  "update kv.entries set expires_at = now() where key like 'audit:%'",
  "delete from kv.entries where key like 'audit:%'",
  "delete from kv.entries",
  "truncate kv.entries",
  "truncate kv.entries_audit",
  `insert into kv.entries (key, value, version, cascades, created_at, updated_at)
     select key, '{}', 1, false, now(), now() from (values ('${KEYS[1]}')) v(key) on conflict (key) do update set value = '{}'`,
  "merge into kv.entries e using (select 1) s on e.key like 'audit:%' when matched then delete",
];

/** Refused by the trigger (KV005), or because the role has no privilege (42501). */
test.each(ROLES)("A07: as %s, audit entries can be neither updated, deleted, truncated nor overwritten", async (role) => {
  for (const sql of CHANGES) expect([sql, await as(role, sql)]).toEqual([sql, expect.stringMatching(/^(KV005|42501)$/)]);
});

test.each(["postgres", "innkeep_owner"])("A07: %s, which bypasses row-level security, is refused by the trigger", async (role) => {
  expect(await as(role, "update kv.entries set value = '{}' where key like 'audit:%'")).toBe("KV005");
  expect(await as(role, "delete from kv.entries where key like 'audit:%'")).toBe("KV005");
  expect(await as(role, "truncate kv.entries")).toBe("KV005");
  expect(await as(role, "truncate kv.entries, kv.chains")).toBe("KV005");
});

test("A07: the role of retention may delete audit entries, but not change one", async () => {
  expect(await as("kv_retention", "delete from kv.entries where key like 'audit:%'")).toBe("2 rows");
  expect(await as("kv_retention", "update kv.entries set value = '{}' where key like 'audit:%'")).toBe("42501");
  expect(await as("kv_retention", "truncate kv.entries")).toBe("42501");
});

test("A07: only the service may call the function that deletes the oldest entries, and it deletes only below the head", async () => {
  const call = `select kv.purge_chain('audit', 'tn_a', 1, 'x', '2030-01-01T00:00:00.000Z')`;
  for (const role of ["kv_tenant", "service_role", "innkeep_app", "authenticated", "anon"]) {
    expect([role, await as(role, call)]).toEqual([role, "42501"]);
  }
  // The only entry of the chain is its head.
  expect(await as("kv_service", call)).toBe("KV005");
  for (const other of [`'audit', 'tn_none'`, `'audit', ''`, `'note', 'tn_a'`, `'tenant', 'tn_a'`, `'', ''`]) {
    expect(await as("kv_service", `select kv.purge_chain(${other}, 1, 'x', '2030-01-01T00:00:00.000Z')`)).toBe("KV005");
  }
  await opened.store.set(auditKey("tn_a", "two"), auditRecord(auditKey("tn_a", "two")));
  expect(await as("kv_service", call)).toBe("KV005");
  const hash = (await opened.store.get(KEYS[1] ?? ""))?.value as { readonly hash: string };
  const of = (seq: number, before: string) => `select kv.purge_chain('audit', 'tn_a', ${seq}, '${hash.hash}', '${before}')`;
  expect(await as("kv_service", of(1, "2000-01-01T00:00:00.000Z"))).toBe("KV005");
  expect(await as("kv_service", of(2, "2030-01-01T00:00:00.000Z"))).toBe("KV005");
  expect(await as("kv_service", of(1, "2030-01-01T00:00:00.000Z"))).toBe("1 rows");
});

test("A07: other rows of the table can be changed, and all audit entries remain", async () => {
  await opened.store.set("note:a", 1);
  expect(await as("innkeep_owner", "update kv.entries set value = '2' where key = 'note:a'")).toBe("1 rows");
  expect((await opened.store.mget(KEYS)).map((entry) => (entry?.value as { seq: number }).seq)).toEqual([1, 1]);
});
