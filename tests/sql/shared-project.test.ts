import { afterEach, describe, expect, test } from "vitest";
import { apiFrom } from "../../functions/api/start.ts";
import { SCHEMA_VERSION } from "../../shared/adapters/migrator.ts";
import { createContainer } from "../../shared/container.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import { withClient } from "../support/client.ts";
import { nodeFiles } from "../support/files.ts";
import { emptyDatabase, migrate } from "../support/postgres.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { ROOT_KEY_TEXT } from "../support/root-key.ts";

const databases: TestDatabase[] = [];
afterEach(async () => {
  for (const database of databases.splice(0)) await database.drop();
});

/** A project with an application that has pg_trgm in a schema and has applied migrations with the Supabase CLI. */
async function projectOf(schema: string, theirs: readonly string[]): Promise<TestDatabase> {
  const database = await emptyDatabase();
  databases.push(database);
  await withClient(database.superUrl, async (client) => {
    await client.query(`create schema if not exists ${schema}; create extension pg_trgm schema ${schema};
      grant usage on schema ${schema} to innkeep_owner;
      create schema supabase_migrations authorization innkeep_owner; set role innkeep_owner;
      create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text)`);
    for (const version of theirs) await client.query("insert into supabase_migrations.schema_migrations (version) values ($1)", [version]);
  });
  return database;
}

function readiness({ appUrl }: TestDatabase): Promise<{ readonly status: number; readonly body: unknown }> {
  const env = {
    DATABASE_URL: appUrl,
    INNKEEP_JWT_ISSUER: "https://auth.example",
    INNKEEP_JWT_SECRET: "a secret of this test",
    INNKEEP_ROOT_KEY: ROOT_KEY_TEXT,
  };
  const api = apiFrom(env, { clock: systemClock, fetch, files: nodeFiles, write: () => undefined });
  if (!api) throw new TypeError("the environment of this test is wrong");
  return Promise.resolve(api.fetch(new Request("http://localhost/ready"))).then(async (answer) => ({
    status: answer.status,
    body: await answer.json() as unknown,
  }));
}

describe("in a project that an application has, too", () => {
  test.each(["extensions", "public", "app_ext"])(
    "O01: with pg_trgm in the schema %s, a search finds tenants by any part of their name",
    async (schema) => {
      const database = await projectOf(schema, ["20200101000000", "20991231000000"]);
      expect(await migrate(database.ownerUrl)).toEqual([SCHEMA_VERSION]);
      const store = createStore(postgresDriver({ connectionString: database.appUrl }), { clock: systemClock });
      const container = await createContainer({ store, clock: systemClock, logger: silentLogger });
      const { MetricService, PlanService, TenantService } = container.services(systemContext(systemClock, "test", "test"));
      await MetricService.seedDefaults();
      await PlanService.seedDefaults();
      for (const subdomain of ["aurora", "lighthouse"]) {
        const owner = `owner@${subdomain}.example`;
        await TenantService.create({ name: `Hotel ${subdomain}`, subdomain, plan: "Pro", owner, ownerName: "Ada Auer" });
      }
      expect((await TenantService.list({ search: "GHTHOU" })).data).toMatchObject([{ subdomain: "lighthouse" }]);
      await store.close();
    },
  );

  test("O03: /ready checks only Innkeep's migrations, whether an application's are older or newer", async () => {
    const database = await projectOf("extensions", ["20200101000000", "20991231000000"]);
    expect(await readiness(database)).toMatchObject({ status: 503 });
    await migrate(database.ownerUrl);
    expect(await readiness(database)).toMatchObject({ status: 200, body: { status: "ready", migration: SCHEMA_VERSION } });
    await withClient(database.ownerUrl, (client) => client.query("insert into kv.migrations values ('20991231000001', 'newer')"));
    expect(await readiness(database)).toMatchObject({ status: 503, body: { code: "schema_mismatch" } });
  });
});
