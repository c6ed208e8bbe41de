import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SCHEMAS_DIR, sqlFiles } from "../support/postgres.ts";
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

describe("the login of the program", () => {
  const DAY_MS = 24 * 3_600_000;
  const FLOOR = /create function (kv\.purge_floor\(\)[^;]*;)/;

  /** The function as it is deployed: the template of the tests has another. */
  beforeAll(async () => {
    const { sql } = (await sqlFiles(SCHEMAS_DIR)).find(({ name }) => name === "50_commit.sql") ?? { sql: "" };
    await admin.query(`create or replace function ${FLOOR.exec(sql)?.[1]}`);
  });

  /** A chain with one entry for each age. The newest is its head. */
  async function chain(tenantId: string, agesDays: readonly number[]): Promise<string[]> {
    const hashes: string[] = [];
    for (const [i, days] of agesDays.entries()) {
      const timestamp = new Date(Date.now() - days * DAY_MS).toISOString();
      const key = `audit:${tenantId}:${timestamp}:n${i}`;
      await opened.store.set(key, { ...auditRecord(key), timestamp });
      hashes.push(((await opened.store.get(key))?.value as { readonly hash: string }).hash);
    }
    return hashes;
  }

  async function purge(mutation: Readonly<Record<string, unknown>>): Promise<string> {
    const client = new pg.Client({ connectionString: opened.database.appUrl });
    await client.connect();
    try {
      const wire = JSON.stringify([{ op: "purgeChain", family: "audit", ...mutation }]);
      await client.query("select public.kv_commit('[]', $1, 1000, now())", [wire]);
      return "deleted";
    } catch (error) {
      return (error as pg.DatabaseError).code ?? String(error);
    } finally {
      await client.end();
    }
  }

  test("A07: cannot delete entries younger than 30 days by the server's clock, whatever cutoff it sends", async () => {
    const hashes = await chain("tn_floor", [40, 35, 29, 1, 0]);
    const of = (seq: number, before: unknown) => ({ scope: "tn_floor", seq, hash: hashes[seq - 1], before });
    for (const before of ["9999-12-31T23:59:59.999Z", "z", new Date(Date.now() + DAY_MS).toISOString()]) {
      for (const seq of [3, 4]) expect([before, seq, await purge(of(seq, before))]).toEqual([before, seq, "KV005"]);
    }
    for (const before of [undefined, null, ""]) expect([before, await purge(of(2, before))]).toEqual([before, "KV005"]);
    expect(await purge(of(2, "9999-12-31T23:59:59.999Z"))).toBe("deleted");
  });

  test("A07: cannot delete an entry whose time is missing or not a time", async () => {
    for (const [n, timestamp] of [undefined, null, 5, "", "2001"].entries()) {
      const scope = `tn_untimed_${n}`;
      for (const nonce of ["one", "two"]) {
        const { timestamp: _, ...rest } = auditRecord(auditKey(scope, nonce)) as Record<string, unknown>;
        await opened.store.set(auditKey(scope, nonce), { ...rest, ...(timestamp === undefined ? {} : { timestamp }) } as never);
      }
      const { hash } = (await opened.store.get(auditKey(scope, "one")))?.value as { readonly hash: string };
      expect([timestamp, await purge({ scope, seq: 1, hash, before: "9999-12-31T23:59:59.999Z" })]).toEqual([timestamp, "KV005"]);
    }
  });
});
