import { jitteredPause } from "../kernel/backoff.ts";
import { InnkeepError } from "../kernel/errors.ts";
import { sha256Hex } from "../kernel/sha256.ts";

/** The version of the newest migration of this program. */
export const SCHEMA_VERSION = "20261121000000";

/** Throws `schema_mismatch` unless the database's newest migration is {@link SCHEMA_VERSION}. */
export function assertSchemaVersion(newest: string | null): void {
  if (newest === SCHEMA_VERSION) return;
  const fault = newest !== null && newest > SCHEMA_VERSION
    ? "is newer than this program. Deploy the newer program."
    : "is not migrated for this program. Run npm run migrate.";
  throw mismatch(`The database schema (${newest ?? "none"}, expected ${SCHEMA_VERSION}) ${fault}`);
}

/** One file `supabase/migrations/<version>_<name>.sql`. */
export interface Migration {
  /** The file name's timestamp, `YYYYMMDDHHmmss`. */
  readonly version: string;
  readonly name: string;
  readonly sql: string;
}

/** One connection, such as a `pg.Client`. Not a pool: a transaction spans several calls. */
export interface MigrationClient {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly unknown[] }>;
}

export interface MigrateOptions {
  /** Returns the pending migrations and changes nothing. */
  readonly dryRun?: boolean;
  /** Called after each file is committed. */
  readonly onApplied?: (migration: Migration) => void;
  /** The number of attempts to get the locks of a file. Default: 600, which take about a minute and a half. */
  readonly maxTries?: number;
}

/** A row of the Supabase CLI's table, which `db push` reads too. */
interface AppliedRow {
  readonly version: string;
  readonly name: string | null;
  readonly statements: readonly string[] | null;
  /** The digest of its text, if this program applied it. */
  readonly digest: string | null;
  /** Whether kv.migrations records it. False for migrations of an application in the same project. */
  readonly ours: boolean;
}

/** Not `create … if not exists`, which requires the privilege to create even if the object exists. */
const BOOKKEEPING = `do $$ begin
  if to_regnamespace('supabase_migrations') is null then
    create schema supabase_migrations;
  end if;
  if to_regclass('supabase_migrations.schema_migrations') is null then
    create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
  end if;
end $$`;

/**
 * Not written if the table contains an application's migrations: the CLI refuses `db push` if the table has versions that are not
 * among the project's files, so our row would block the application's deployments.
 */
const RECORD = "insert into supabase_migrations.schema_migrations (version, name, statements) values ($1, $2, array[$3])";

const RECORD_DIGEST = "update kv.migrations set digest = $2 where version = $1";

/** While a statement waits for an exclusive lock, all later readers of the table wait behind it. */
const LOCK_TIMEOUT_MS = 50;

/**
 * Applies pending migrations in order, each in its own transaction, and returns them. A file that does not get a lock within 50 ms
 * is rolled back and tried again, so that other sessions wait no longer than that. Throws `store_unavailable` after the last attempt,
 * `invalid_configuration` if row-level security applies to the role, and `schema_mismatch` if the applied migrations are not the
 * first of `migrations`, unchanged.
 */
export async function migrate(
  client: MigrationClient,
  migrations: readonly Migration[],
  options: MigrateOptions = {},
): Promise<Migration[]> {
  const known = [...migrations].sort((a, b) => (a.version < b.version ? -1 : 1));
  assertDistinct(known);
  await assertPassesRowSecurity(client);
  if (options.dryRun) return await pendingOf(known, await readApplied(client));
  const done: Migration[] = [];
  for (let tries = 0;;) {
    try {
      const next = await applyNext(client, known);
      if (!next) return done;
      options.onApplied?.(next);
      done.push(next);
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      if (++tries >= (options.maxTries ?? 600)) {
        const [next] = await pendingOf(known, await readApplied(client));
        throw lockedOut(`${next ? list([next]) : "a migration"} is not applied`, tries, error);
      }
      await jitteredPause(tries, 10, 150);
    }
  }
}

/**
 * Throws `invalid_configuration` unless the connection's role bypasses row-level security, which is forced on every partition.
 * Otherwise a migration would skip the rows that it hides, without an error.
 */
export async function assertPassesRowSecurity(client: MigrationClient): Promise<void> {
  const { rows: [role] } = await client.query(
    `select quote_ident(r.rolname) as name, r.rolsuper or r.rolbypassrls as passes, quote_ident(o.rolname) as owner,
       pg_has_role(r.oid, o.oid, 'member') as owns
     from pg_roles r, pg_database d left join pg_namespace n on n.nspname = 'kv' join pg_roles o on o.oid = coalesce(n.nspowner, d.datdba)
     where r.rolname = current_user and d.datname = current_database()`,
  ) as { readonly rows: readonly { readonly name: string; readonly passes: boolean; readonly owner: string; readonly owns: boolean }[] };
  if (role?.passes) return;
  const remedy = role?.owns ? `run as a superuser "alter role ${role.name} bypassrls"` : `migrate as the owner, ${role?.owner}`;
  throw new InnkeepError(
    "invalid_configuration",
    `Row-level security applies to ${role?.name}, so a migration would miss rows: ${remedy}.`,
  );
}

/** Whether a lock was not available (55P03) or a deadlock was broken (40P01). The transaction was rolled back and can be repeated. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "55P03" || error.code === "40P01");
}

/** The error after the last attempt: `store_unavailable`, with the remedy. */
export function lockedOut(what: string, tries: number, cause: unknown): InnkeepError {
  const advice = "End the session that holds them with pg_terminate_backend, or repeat at a time of less load.";
  return new InnkeepError("store_unavailable", `${what}: ${tries} tries did not get its locks. ${advice}`, [], {}, { cause });
}

/** Applies the next file under a lock of the transaction, which also works through a transaction pooler. */
async function applyNext(client: MigrationClient, known: readonly Migration[]): Promise<Migration | undefined> {
  await client.query("begin");
  try {
    // The wait for another run is unlimited, whatever the login's settings are.
    await client.query("set local statement_timeout = 0; set local lock_timeout = 0");
    await client.query("select pg_advisory_xact_lock(hashtextextended('innkeep migrations', 0))");
    const applied = await readApplied(client);
    const [next] = await pendingOf(known, applied);
    if (next) {
      await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
      const isShared = applied.some(({ ours }) => !ours);
      if (!isShared) await client.query(BOOKKEEPING);
      await client.query(next.sql);
      if (!isShared) await client.query(RECORD, [next.version, next.name, next.sql]);
      await client.query(RECORD_DIGEST, [next.version, await digest([next.sql])]);
    }
    await client.query("commit");
    return next;
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

async function readApplied(client: MigrationClient): Promise<readonly AppliedRow[]> {
  const { rows: [there] } = await client.query(
    "select to_regclass('supabase_migrations.schema_migrations') is not null as cli, to_regclass('kv.migrations') is not null as own",
  ) as { readonly rows: readonly { readonly cli: boolean; readonly own: boolean }[] };
  const applied = there?.cli
    ? (await client.query("select version, name, statements from supabase_migrations.schema_migrations order by version"))
      .rows as AppliedRow[]
    : [];
  // Through JSON: a table of an earlier first migration has no digests.
  const records = "select m.version, m.name, to_jsonb(m)->>'digest' as digest from kv.migrations m order by version";
  const own = there?.own ? (await client.query(records)).rows as AppliedRow[] : [];
  const ours = new Map(own.map((row) => [row.version, row]));
  const missing = own.filter(({ version }) => !applied.some((row) => row.version === version)).map((row) => ({ ...row, statements: null }));
  return [...applied, ...missing]
    .map((row) => ({ ...row, digest: ours.get(row.version)?.digest ?? null, ours: ours.has(row.version) }))
    .sort((a, b) => (a.version < b.version ? -1 : 1));
}

/** The pending migrations in order. Throws `schema_mismatch` unless the applied ones are the first of `known`, unchanged. */
async function pendingOf(known: readonly Migration[], applied: readonly AppliedRow[]): Promise<Migration[]> {
  const byVersion = new Map(known.map((migration) => [migration.version, migration]));
  const unknown = applied.filter((row) => row.ours && !byVersion.has(row.version));
  if (unknown.length > 0) {
    throw mismatch(`The database has migrations that this program does not have (${list(unknown)}). Deploy a newer program.`);
  }
  // Not by version: an application's migration can have the timestamp of one of ours.
  const ours = applied.filter((row) => row.ours);
  const edited = (await Promise.all(ours.map(async (row) => {
    const recorded = row.digest ?? (row.statements && await digest(row.statements));
    return recorded !== null && recorded !== await digest([byVersion.get(row.version)?.sql ?? ""]) ? [row] : [];
  }))).flat();
  if (edited.length > 0) {
    throw mismatch(`Migrations that are already applied were edited (${list(edited)}). Restore their text and add a new migration.`);
  }
  const done = new Set(ours.map(({ version }) => version));
  const newest = ours.at(-1)?.version ?? "";
  const pending = known.filter(({ version }) => !done.has(version));
  const late = pending.filter(({ version }) => version < newest);
  if (late.length > 0) {
    throw mismatch(`Migrations sort before ${newest}, which is already applied (${list(late)}). Give them a later timestamp.`);
  }
  return pending;
}

/** SHA-256 of the text without white space and semicolons, because the Supabase CLI stores a file as separate statements. */
async function digest(statements: readonly string[]): Promise<string> {
  return await sha256Hex(statements.join("").replace(/[\s;]+/g, ""));
}

function assertDistinct(sorted: readonly Migration[]): void {
  const twice = sorted.filter((migration, i) => migration.version === sorted[i - 1]?.version);
  if (twice.length > 0) throw mismatch(`Two migrations have the same version (${list(twice)}). Give one of them another timestamp.`);
}

function list(items: readonly { readonly version: string; readonly name: string | null }[]): string {
  return items.map(({ version, name }) => (name ? `${version}_${name}` : version)).join(", ");
}

function mismatch(detail: string): InnkeepError {
  return new InnkeepError("schema_mismatch", detail);
}
