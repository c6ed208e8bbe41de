import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { inject } from "vitest";
import { migrate as applyMigrations } from "../../shared/adapters/migrator.ts";
import { withClient } from "./client.ts";
import { ROLE_PASSWORD } from "./roles.ts";

/** A database of one test file. Every URL contains its name. */
export interface TestDatabase {
  readonly name: string;
  /** The application's login: a member of service_role and nothing else. */
  readonly appUrl: string;
  /** The owner, which ran the migrations. Not a superuser. */
  readonly ownerUrl: string;
  readonly superUrl: string;
  /** PostgREST's login. */
  readonly authenticatorUrl: string;
  drop(): Promise<void>;
}

export const MIGRATIONS_DIR = fileURLToPath(new URL("../../supabase/migrations", import.meta.url));
export const SCHEMAS_DIR = fileURLToPath(new URL("../../supabase/schemas", import.meta.url));

/** The major version of the server of this run. */
export function postgresMajor(): number {
  return inject("postgres").major;
}

/** A migrated database, cloned from a template that the first caller builds. */
export async function freshDatabase(): Promise<TestDatabase> {
  const { superUrl } = inject("postgres");
  return await withClient(superUrl, async (client) => {
    // Copying the template's files takes half of the time of copying its pages through the log.
    return await createDatabase(client, superUrl, `template ${await ensureTemplate(client, superUrl)} strategy file_copy`);
  });
}

/**
 * A database as a new Supabase project has it, without our migrations, made with extra
 * `create database` options such as a locale, on the run's server or on the one named.
 */
export async function emptyDatabase(options = "", superUrl = inject("postgres").superUrl): Promise<TestDatabase> {
  return await withClient(superUrl, async (client) => {
    // Roles belong to the whole server. Building the template first prevents that two test files create them concurrently.
    await ensureTemplate(client, superUrl);
    return await createProject(client, superUrl, options);
  });
}

async function createProject(client: pg.Client, superUrl: string, options: string): Promise<TestDatabase> {
  const database = await createDatabase(client, superUrl, options);
  await withClient(database.superUrl, (owner) => owner.query(SUPABASE_DEFAULTS));
  return database;
}

/** Like Supabase, grants everything that `postgres` creates in `public` to the API roles. Migrations must revoke it. */
const SUPABASE_DEFAULTS =
  ["tables", "functions", "sequences"].map((kind) =>
    `alter default privileges for role innkeep_owner in schema public grant all on ${kind} to anon, authenticated, service_role;`
  ).join("\n") + `
  grant usage on schema public to anon, authenticated, service_role;
  create schema extensions authorization innkeep_owner;
  grant usage on schema extensions to public;`;

/** Tests have clocks of their own, years before and after the server's. tests/sql/append-only.test.ts restores the function. */
const NO_FLOOR = "create or replace function kv.purge_floor() returns text language sql stable return '9999-12-31T23:59:59.999Z'";

async function createDatabase(client: pg.Client, superUrl: string, options: string): Promise<TestDatabase> {
  const name = `innkeep_test_${randomBytes(6).toString("hex")}`;
  await client.query(`create database ${name} owner innkeep_owner ${options}`);
  return {
    name,
    appUrl: urlFor(superUrl, name, "innkeep_app"),
    ownerUrl: urlFor(superUrl, name, "innkeep_owner"),
    authenticatorUrl: urlFor(superUrl, name, "authenticator"),
    superUrl: urlFor(superUrl, name),
    drop: () => withClient(superUrl, async (admin) => void await admin.query(`drop database if exists ${name} with (force)`)),
  };
}

export function urlFor(superUrl: string, database: string, role?: string): string {
  const url = new URL(superUrl);
  url.pathname = `/${database}`;
  if (role) {
    url.username = role;
    url.password = ROLE_PASSWORD;
  }
  return url.href;
}

/** Named by the migrations' text, so a changed migration gets a new template on a long-lived server. */
async function ensureTemplate(client: pg.Client, superUrl: string): Promise<string> {
  const files = await sqlFiles(MIGRATIONS_DIR);
  const hash = createHash("sha256").update(files.map(({ sql }) => sql).join("\0") + NO_FLOOR).digest("hex").slice(0, 12);
  const template = `innkeep_template_${hash}`;
  await client.query("select pg_advisory_lock(hashtext('innkeep test template'))");
  try {
    const { rowCount } = await client.query("select from pg_database where datname = $1", [template]);
    if (rowCount) return template;
    const building = await createProject(client, superUrl, "");
    await migrate(building.ownerUrl);
    await withClient(building.ownerUrl, (owner) => owner.query(NO_FLOOR));
    await client.query(`alter database ${building.name} rename to ${template}`);
    return template;
  } finally {
    await client.query("select pg_advisory_unlock(hashtext('innkeep test template'))");
  }
}

export async function sqlFiles(dir: string): Promise<{ readonly name: string; readonly sql: string }[]> {
  const names = (await readdir(dir).catch(() => [])).filter((name) => name.endsWith(".sql")).sort();
  return await Promise.all(names.map(async (name) => ({ name, sql: await readFile(join(dir, name), "utf8") })));
}

/** Applies the migrations that are not recorded yet, like `npm run migrate`. Returns their versions. */
export async function migrate(ownerUrl: string): Promise<string[]> {
  const migrations = (await sqlFiles(MIGRATIONS_DIR)).map(({ name, sql }) => {
    const [, version = "", title = ""] = /^(\d+)_(.+)\.sql$/.exec(name) ?? [];
    return { version, name: title, sql };
  });
  return await withClient(ownerUrl, async (client) => (await applyMigrations(client, migrations)).map(({ version }) => version));
}
