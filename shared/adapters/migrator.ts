import { jitteredPause } from "../kernel/backoff.ts";
import { InnkeepError } from "../kernel/errors.ts";
import { sha256Hex } from "../kernel/sha256.ts";

/** The newest migration this program was written for; a test holds it to the files. */
export const SCHEMA_VERSION = "20261121000000";

/** Throws `schema_mismatch` unless the database's newest migration is {@link SCHEMA_VERSION}. */
export function assertSchemaVersion(newest: string | null): void {
  if (newest === SCHEMA_VERSION) return;
  const fault = newest !== null && newest > SCHEMA_VERSION
    ? "newer than this program: deploy the newer one"
    : "not migrated for this program";
  throw mismatch(`the database's schema (${newest ?? "none"}, wanted ${SCHEMA_VERSION}) is ${fault}`);
}

/** One file `supabase/migrations/<version>_<name>.sql`; reading it is the caller's work. */
export interface Migration {
  /** The file name's timestamp, `YYYYMMDDHHmmss`. */
  readonly version: string;
  readonly name: string;
  readonly sql: string;
}

/** One connection (not a pool): a transaction spans several calls. `pg.Client` is one. */
export interface MigrationClient {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly unknown[] }>;
}

export interface MigrateOptions {
  /** Returns what would be applied and changes nothing. */
  readonly dryRun?: boolean;
  /** Called after each file, once it is committed; for progress lines. */
  readonly onApplied?: (migration: Migration) => void;
  /** How often a file is tried that waits for a lock, 600 when left out: about a minute and a half. */
  readonly maxTries?: number;
}

/** Shape of the Supabase CLI's own table, so that `db push` and this agree on what is applied. */
interface AppliedRow {
  readonly version: string;
  readonly name: string | null;
  readonly statements: readonly string[] | null;
  /** Of its text, where this program applied it. */
  readonly digest: string | null;
  /** Recorded in kv.migrations: not the migration of an application in the same project. */
  readonly ours: boolean;
}

/** `if not exists` asks for the right to create even where nothing is missing, which the owner of the tables may not have. */
const BOOKKEEPING = `do $$ begin
  if to_regnamespace('supabase_migrations') is null then
    create schema supabase_migrations;
  end if;
  if to_regclass('supabase_migrations.schema_migrations') is null then
    create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
  end if;
end $$`;

/**
 * Left out where the table holds an application's migrations: the CLI refuses every `db push` of a project whose table
 * has versions that are not among its files, so our entry would stop the application's deployments.
 */
const RECORD = "insert into supabase_migrations.schema_migrations (version, name, statements) values ($1, $2, array[$3])";

const RECORD_DIGEST = "update kv.migrations set digest = $2 where version = $1";

/** A lock on a table stops its readers while it is waited for. */
const LOCK_TIMEOUT_MS = 50;

/**
 * Applies what is not applied yet, in order, each file in one transaction of its own; returns what was
 * (or, in a dry run, would be) applied. A file that cannot have a lock within 50 ms is rolled back and tried
 * again, so that nobody waits behind it for longer; `store_unavailable` when that never succeeds. Throws
 * `invalid_configuration` for a role that row-level security applies to, and `schema_mismatch` when the database has a migration
 * of ours that this program does not know, when a landed file was edited, or when a file sorts before one
 * already applied.
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
 * Throws `invalid_configuration` unless the connection's role passes row-level security, which is forced on every
 * partition: what migrations move, count and rebuild would silently leave out the rows that it hides.
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
    `row-level security applies to ${role?.name}, and a migration would miss rows: ${remedy}`,
  );
}

/** 55P03, 40P01: others hold what is needed; all of it was rolled back, and it is worth another try. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "55P03" || error.code === "40P01");
}

/** After the last try: `store_unavailable`, with what to do. */
export function lockedOut(what: string, tries: number, cause: unknown): InnkeepError {
  const advice = "end the session that holds them with pg_terminate_backend, or repeat in a quieter minute";
  return new InnkeepError("store_unavailable", `${what}: ${tries} tries did not get its locks; ${advice}`, [], {}, { cause });
}

/** The lock is the transaction's, which also holds through a transaction pooler; what is pending is read under it. */
async function applyNext(client: MigrationClient, known: readonly Migration[]): Promise<Migration | undefined> {
  await client.query("begin");
  try {
    // How long another run takes is not for this connection's own limits to say.
    await client.query("set local statement_timeout = 0; set local lock_timeout = 0");
    await client.query("select pg_advisory_xact_lock(hashtextextended('innkeep migrations', 0))");
    const applied = await readApplied(client);
    const [next] = await pendingOf(known, applied);
    if (next) {
      await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
      const isShared = applied.some(({ version, ours }) => !ours && !known.some((migration) => migration.version === version));
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

/** What is still to be applied, in order, once our applied part is found to be the beginning of `known`. */
async function pendingOf(known: readonly Migration[], applied: readonly AppliedRow[]): Promise<Migration[]> {
  const byVersion = new Map(known.map((migration) => [migration.version, migration]));
  const unknown = applied.filter(({ version, ours }) => ours && !byVersion.has(version));
  if (unknown.length > 0) {
    throw mismatch(`the database has migrations this program does not know (${list(unknown)}): it is newer, run a newer Innkeep`);
  }
  const ours = applied.filter(({ version }) => byVersion.has(version));
  const edited = (await Promise.all(ours.map(async (row) => {
    const recorded = row.digest ?? (row.statements && await digest(row.statements));
    return recorded !== null && recorded !== await digest([byVersion.get(row.version)?.sql ?? ""]) ? [row] : [];
  }))).flat();
  if (edited.length > 0) {
    throw mismatch(`migrations that are already applied were edited (${list(edited)}): restore their text and add a new migration`);
  }
  const done = new Set(ours.map(({ version }) => version));
  const newest = ours.at(-1)?.version ?? "";
  const pending = known.filter(({ version }) => !done.has(version));
  const late = pending.filter(({ version }) => version < newest);
  if (late.length > 0) {
    throw mismatch(`migrations sort before ${newest}, which is already applied (${list(late)}): give them a later timestamp`);
  }
  return pending;
}

/**
 * SHA-256 of the text without white space and semicolons: the Supabase CLI stores a file split into its statements,
 * this program stores it whole, and both must compare as the same migration.
 */
async function digest(statements: readonly string[]): Promise<string> {
  return await sha256Hex(statements.join("").replace(/[\s;]+/g, ""));
}

function assertDistinct(sorted: readonly Migration[]): void {
  const twice = sorted.filter((migration, i) => migration.version === sorted[i - 1]?.version);
  if (twice.length > 0) throw mismatch(`two migrations have one version (${list(twice)})`);
}

function list(items: readonly { readonly version: string; readonly name: string | null }[]): string {
  return items.map(({ version, name }) => (name ? `${version}_${name}` : version)).join(", ");
}

function mismatch(detail: string): InnkeepError {
  return new InnkeepError("schema_mismatch", detail);
}
