import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { apiFrom } from "../../../functions/api/start.ts";
import { vaultRootKeys } from "../../../shared/adapters/vault-root-keys.ts";
import { SecretBox } from "../../../shared/core/secret-box.ts";
import { systemClock } from "../../../shared/kernel/clock.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import { postgresDriver } from "../../../shared/kv/drivers/postgres.ts";
import { supabaseDriver } from "../../../shared/kv/drivers/supabase.ts";
import { withClient } from "../../support/client.ts";
import { read } from "../../architecture/sources.ts";
import { nodeFiles } from "../../support/files.ts";
import { emptyDatabase, freshDatabase, migrate, type TestDatabase } from "../../support/postgres.ts";
import { testClock } from "../../support/store.ts";
import { bytesOf } from "./support.ts";

/** A stand-in of Supabase Vault, which no Debian package has. Only the owner of the migrations may read it. */
const VAULT = `
  create schema vault;
  create table vault.secrets (name text unique, decrypted_secret text, id uuid default gen_random_uuid());
  create function vault.create_secret(text, text) returns uuid language sql as 'insert into vault.secrets values ($2, $1) returning id';
  create function vault.update_secret(uuid, text) returns void language sql as
    'update vault.secrets s set decrypted_secret = $2 where s.id = $1';
  create view vault.decrypted_secrets as select * from vault.secrets;
  revoke all on schema vault from public;
  grant usage on schema vault to innkeep_owner; grant select on all tables in schema vault to innkeep_owner;
  insert into vault.secrets values ('another_secret', 'not for Innkeep')`;

const text = (fill: number) => Buffer.from(bytesOf(fill)).toString("base64");

let database: TestDatabase;
const asSuper = (sql: string, values: unknown[] = []) => withClient(database.superUrl, (client) => client.query(sql, values));
const store = (name: string, secret: string) =>
  asSuper("insert into vault.secrets values ($1, $2) on conflict (name) do update set decrypted_secret = excluded.decrypted_secret", [
    name,
    secret,
  ]);

beforeAll(async () => {
  database = await emptyDatabase();
  await asSuper(VAULT);
  await migrate(database.ownerUrl);
});
afterAll(() => database.drop());
beforeEach(() => asSuper("delete from vault.secrets where name like 'innkeep%'"));

describe("the root keys in Vault", () => {
  test("I07: a migration with Vault makes the function, which returns the two secrets of Innkeep and no other", async () => {
    const driver = postgresDriver({ connectionString: database.appUrl });
    expect(await driver.rootKeys()).toEqual({ current: null, previous: null });
    await store("innkeep_root_key", text(1));
    await store("innkeep_root_key_previous", text(2));
    expect(await driver.rootKeys()).toEqual({ current: text(1), previous: text(2) });
    await driver.close();
  });

  test.each(["anon", "authenticated", "kv_service", "kv_tenant"])("I04: the role %s can neither call it nor read Vault", async (role) => {
    for (const sql of ["select public.innkeep_root_keys()", "select * from vault.decrypted_secrets", "select kv.install_root_keys()"]) {
      const call = withClient(database.superUrl, (client) => client.query(`set role ${role}; ${sql}`));
      await expect(call, sql).rejects.toMatchObject({ code: "42501" });
    }
  });

  test("I04: the application's login reads Vault through the function only", async () => {
    await store("innkeep_root_key", text(1));
    const app = (sql: string) => withClient(database.appUrl, (client) => client.query(`set role service_role; ${sql}`));
    await expect(app("select * from vault.decrypted_secrets")).rejects.toMatchObject({ code: "42501" });
    // A session's own view of this name is not read.
    await app("create temp view decrypted_secrets as select 'innkeep_root_key' as name, 'forged' as decrypted_secret").catch(() =>
      undefined
    );
    await withClient(database.appUrl, async (client) => {
      const { rows } = await client.query<{ keys: JsonObject }>("select public.innkeep_root_keys() as keys");
      expect(rows[0]?.keys["current"]).toBe(text(1));
    });
  });

  test("I07: in a database without Vault there is no function, and Vault can be enabled later", async () => {
    const plain = await freshDatabase();
    const install = () => withClient(plain.ownerUrl, (client) => client.query<{ done: boolean }>("select kv.install_root_keys() as done"));
    const driver = postgresDriver({ connectionString: plain.appUrl });
    const source = vaultRootKeys(() => driver.rootKeys());
    expect((await install()).rows).toEqual([{ done: false }]);
    await expect(source.load()).rejects.toMatchObject({
      code: "root_key_unavailable",
      message: expect.stringContaining("install_root_keys"),
    });
    await withClient(plain.superUrl, (client) => client.query(VAULT));
    expect((await install()).rows).toEqual([{ done: true }]);
    expect((await install()).rows).toEqual([{ done: true }]);
    await expect(source.load()).rejects.toMatchObject({ message: expect.stringContaining("no secret innkeep_root_key") });
    await driver.close();
    await plain.drop();
  });

  test("I07: the statements of docs/security.md store a key, begin a rotation and end it", async () => {
    const [make = "", begin = "", end = ""] = [...read("docs/security.md").matchAll(/^```sql\n([^]*?)^```$/gm)]
      .map(([, sql = ""]) => sql).filter((sql) => sql.includes("vault."));
    const driver = postgresDriver({ connectionString: database.appUrl });
    const filled = (sql: string, fill: number) => sql.replace("<the output of openssl rand -base64 32>", text(fill));
    await asSuper(filled(make, 1));
    expect(await driver.rootKeys()).toEqual({ current: text(1), previous: null });
    for (const [next, before] of [[2, 1], [3, 2]] as const) {
      await asSuper(filled(begin, next));
      expect(await driver.rootKeys()).toEqual({ current: text(next), previous: text(before) });
      await expect(asSuper(filled(begin, 9)), "a second rotation at the same time").rejects.toMatchObject({ code: "23505" });
      await asSuper(end);
    }
    expect(await driver.rootKeys()).toEqual({ current: text(3), previous: null });
    await driver.close();
  });

  test("I08: a short key in Vault is refused by the name of its secret, and an outage stays an outage", async () => {
    const sourceOf = (keys: object) => vaultRootKeys(() => Promise.resolve(keys));
    for (
      const [keys, name] of [[{ current: "short" }, "innkeep_root_key must"], [
        { current: text(1), previous: "c2hvcnQ=" },
        "_previous must",
      ]]
    ) {
      const failure = await sourceOf(keys as object).load().catch((error: Error) => error);
      expect(failure).toMatchObject({ code: "root_key_unavailable", message: expect.stringContaining(name as string) });
      expect(String(failure)).not.toMatch(/short|c2hvcnQ/);
    }
    const outage = new InnkeepError("store_unavailable", "The database does not respond.");
    await expect(vaultRootKeys(() => Promise.reject(outage)).load()).rejects.toBe(outage);
  });

  test("I07: a running process takes over a key that is changed in Vault within five minutes", async () => {
    const clock = testClock();
    let keys: object = { current: text(1) };
    const box = new SecretBox(vaultRootKeys(() => Promise.resolve(keys)), clock);
    const first = await box.seal("safe:tn_1:s_1", "first", "value");
    keys = { current: text(2), previous: ` ${text(1)}\n` };
    clock.advance(5 * 60_000 - 1);
    expect((await box.seal("safe:tn_1:s_1", "first", "value")).keyId).toBe(first.keyId);
    clock.advance(1);
    expect((await box.seal("safe:tn_1:s_1", "first", "value")).keyId).not.toBe(first.keyId);
    expect(await box.open("safe:tn_1:s_1", "first", first)).toBe("value");
  });

  test("I07: the gateway of Supabase calls the same function", async () => {
    const sent: string[] = [];
    const answering = ((input: string | URL | Request) => {
      sent.push(input instanceof Request ? input.url : String(input));
      return Promise.resolve(Response.json({ current: text(1), previous: null }));
    }) as typeof fetch;
    const driver = supabaseDriver({ url: "https://abc.supabase.co", serviceKey: "key", fetch: answering });
    expect((await vaultRootKeys(() => driver.rootKeys()).load()).previous).toEqual([]);
    expect(sent).toEqual(["https://abc.supabase.co/rest/v1/rpc/innkeep_root_keys"]);
  });

  test("I07: the API starts with the keys of Vault, and answers 503 while they are missing", async () => {
    const env = {
      DATABASE_URL: database.appUrl,
      INNKEEP_JWT_ISSUER: "https://auth.example",
      INNKEEP_JWT_SECRET: "a secret of this test",
      INNKEEP_ROOT_KEY_PROVIDER: "vault",
    };
    const api = apiFrom(env, { clock: systemClock, fetch, files: nodeFiles, write: () => undefined });
    const ready = async () => (await api?.fetch(new Request("http://localhost/ready")))?.status;
    expect(await ready()).toBe(503);
    await store("innkeep_root_key", text(1));
    expect(await ready()).toBe(200);
  });
});
