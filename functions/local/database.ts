import pg from "pg";
import { migrate } from "../../shared/adapters/migrator.ts";
import type { Migration } from "../../shared/adapters/migrator.ts";
import { buildPending } from "../../shared/adapters/pending-builds.ts";
import type { PendingBuild } from "../../shared/adapters/pending-builds.ts";
import type { Secrets } from "./data-directory.ts";
import { readMigrations } from "./migrations.ts";
import { Refusal } from "./refusal.ts";

const DATABASE = "innkeep";

export async function withClient<T>(connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 10_000 });
  // A connection that breaks between two calls must not end the process; the next call reports it.
  client.on("error", () => undefined);
  try {
    await client.connect();
  } catch (error) {
    const { hostname, port } = new URL(connectionString);
    throw new Refusal(
      `cannot connect to PostgreSQL at ${hostname}:${port || 5432}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export interface DatabaseUrls {
  readonly superuser: string;
  /** Runs the migrations; as on Supabase, no superuser. */
  readonly owner: string;
  /** The application's login: a member of service_role and nothing else. */
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

/** The roles a Supabase project has before its first migration, and how they are made. */
const SUPABASE_ROLES = {
  anon: "nologin noinherit",
  authenticated: "nologin noinherit",
  service_role: "nologin noinherit bypassrls",
} as const;

/** Makes what is missing of the roles and the database; passwords come from the data directory. */
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

/** Another server's database (DATABASE_URL): it only lacks the roles when it is not Supabase's. */
export async function prepareExternal(url: string): Promise<DatabaseUrls> {
  await withClient(url, async (client) => {
    const { rows: [server] } = await client.query<{ version: number }>(
      "select current_setting('server_version_num')::int / 10000 as version",
    );
    if ((server?.version ?? 0) < 15) throw new Refusal(`DATABASE_URL is PostgreSQL ${server?.version}; Innkeep needs 15 or newer`);
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

/** Brings the database up to the program's migrations, and builds what they left pending; returns what was applied. */
export async function migrateDatabase(
  ownerUrl: string,
  options: {
    readonly dryRun?: boolean;
    readonly onApply?: (migration: Migration) => void;
    readonly onProgress?: (build: PendingBuild, reached: string | null) => void;
  } = {},
): Promise<Migration[]> {
  const migrations = await readMigrations();
  return await withClient(ownerUrl, async (client) => {
    const applied = await migrate(client, migrations, options);
    if (!options.dryRun) await buildPending(client, options);
    return applied;
  });
}
