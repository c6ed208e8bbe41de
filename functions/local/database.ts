import process from "node:process";
import pg from "pg";
import { reportingWaits } from "../../shared/adapters/lock-waits.ts";
import { migrate } from "../../shared/adapters/migrator.ts";
import type { MigrateOptions, Migration } from "../../shared/adapters/migrator.ts";
import { buildPending, pendingBuilds } from "../../shared/adapters/pending-builds.ts";
import type { BuildOptions, PendingBuild } from "../../shared/adapters/pending-builds.ts";
import { loadDatabaseConfig } from "../../shared/config.ts";
import type { DatabaseConfig, Environment } from "../../shared/config.ts";
import { isInnkeepError } from "../../shared/kernel/errors.ts";
import type { Secrets } from "./data-directory.ts";
import { readMigrations } from "./migrations.ts";
import { Refusal } from "./refusal.ts";

const DATABASE = "innkeep";

/** The API's variables that concern its database. */
const DATABASE_VARIABLES = ["DATABASE_URL", "INNKEEP_DB_POOLER", "INNKEEP_DB_CONNECTIONS", "INNKEEP_DB_TIMEOUT_MS"];

/** Returns the database of DATABASE_URL, configured as for the API, or null if the variable is not set. */
export function externalDatabase(env: Environment = process.env): Extract<DatabaseConfig, { readonly driver: "postgres" }> | null {
  if (!env["DATABASE_URL"]) return null;
  try {
    const own = Object.fromEntries(DATABASE_VARIABLES.map((name) => [name, env[name]]));
    const database = loadDatabaseConfig(own);
    return database.driver === "postgres" ? database : null;
  } catch (error) {
    if (!isInnkeepError(error, "invalid_configuration")) throw error;
    throw new Refusal(error.fields.map(({ path, message }) => `${path} ${message}`).join("; "));
  }
}

export async function withClient<T>(connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connect(connectionString);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function connect(connectionString: string): Promise<pg.Client> {
  try {
    const client = new pg.Client({ connectionString, connectionTimeoutMillis: 10_000 });
    // A connection that fails between two calls must not end the process. The next call reports the error.
    client.on("error", () => undefined);
    await client.connect();
    return client;
  } catch (error) {
    const { hostname, port } = new URL(connectionString);
    throw new Refusal(
      `cannot connect to PostgreSQL at ${hostname}:${port || 5432}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

export interface DatabaseUrls {
  readonly superuser: string;
  /** Runs the migrations. It is not a superuser, as on Supabase. */
  readonly owner: string;
  /** The application's login: a member of service_role without other rights. */
  readonly app: string;
}

export function embeddedUrls(port: number, secrets: Secrets): DatabaseUrls {
  const url = (user: string, password: string) => `postgres://${user}:${password}@127.0.0.1:${port}/${DATABASE}`;
  return {
    superuser: url("postgres", secrets.superuserPassword),
    owner: url("innkeep_owner", secrets.ownerPassword),
    app: url("innkeep_app", secrets.appPassword),
  };
}

/** The roles of a new Supabase project, with their attributes. */
const SUPABASE_ROLES = {
  anon: "nologin noinherit",
  authenticated: "nologin noinherit",
  service_role: "nologin noinherit bypassrls",
} as const;

/** Creates the roles and the database if they are missing. The passwords are in the data directory. */
export async function prepareEmbedded(urls: DatabaseUrls, secrets: Secrets): Promise<void> {
  const maintenance = urls.superuser.replace(/\/[^/]*$/, "/postgres");
  await withClient(maintenance, async (client) => {
    await createRoles(client, {
      ...SUPABASE_ROLES,
      innkeep_owner: `login createrole createdb bypassrls password '${secrets.ownerPassword}'`,
      innkeep_app: `login password '${secrets.appPassword}'`,
    });
    await client.query("grant anon, authenticated, service_role to innkeep_owner with admin option");
    await client.query("grant service_role to innkeep_app");
    const { rowCount } = await client.query("select from pg_database where datname = $1", [DATABASE]);
    if (!rowCount) await client.query(`create database ${DATABASE} owner innkeep_owner`);
  });
}

/** Prepares the database of DATABASE_URL: creates Supabase's roles if they are missing. */
export async function prepareExternal(url: string): Promise<DatabaseUrls> {
  await withClient(url, async (client) => {
    const { rows: [server] } = await client.query<{ version: number }>(
      "select current_setting('server_version_num')::int / 10000 as version",
    );
    if ((server?.version ?? 0) < 15) throw new Refusal(`DATABASE_URL names a PostgreSQL ${server?.version}: use version 15 or newer`);
    await createRoles(client, SUPABASE_ROLES);
    const { rowCount: member } = await client.query("select where pg_has_role(current_user, 'service_role', 'usage')");
    if (!member) await client.query("grant service_role to current_user");
  });
  return { superuser: url, owner: url, app: url };
}

async function createRoles(client: pg.Client, roles: Readonly<Record<string, string>>): Promise<void> {
  const { rows } = await client.query<{ rolname: string }>("select rolname from pg_roles where rolname = any($1)", [Object.keys(roles)]);
  const existing = new Set(rows.map(({ rolname }) => rolname));
  for (const [role, attributes] of Object.entries(roles)) {
    if (!existing.has(role)) await client.query(`create role ${role} ${attributes}`);
  }
}

export interface MigrateDatabaseOptions extends Pick<MigrateOptions, "onApplied">, Pick<BuildOptions, "onProgress" | "onBuilt"> {
  /** Returns what would be applied and built, without changing anything. */
  readonly dryRun?: boolean;
  /** Receives a line for each lock that the migration waits for. */
  readonly onWait?: (line: string) => void;
}

export interface MigratedDatabase {
  readonly applied: readonly Migration[];
  readonly built: readonly PendingBuild[];
}

/** Applies the migrations and builds the pending indexes and rollups. Returns what it applied and built. */
export async function migrateDatabase(ownerUrl: string, options: MigrateDatabaseOptions = {}): Promise<MigratedDatabase> {
  const { dryRun = false, onWait = () => undefined } = options;
  const migrations = await readMigrations();
  return await withClient(ownerUrl, async (client) => {
    if (dryRun) return { applied: await migrate(client, migrations, { dryRun }), built: await pendingBuilds(client) };
    // If this program is killed, the server then ends its statement and releases the locks. Windows does not support the setting.
    await client.query("set client_connection_check_interval = '1s'").catch(() => undefined);
    return await withClient(ownerUrl, (observer) =>
      reportingWaits(client, observer, onWait, async () => ({
        applied: await migrate(client, migrations, options),
        built: await buildPending(client, options),
      })));
  });
}
