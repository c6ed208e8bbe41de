import { jitteredPause } from "../kernel/backoff.ts";
import { InnkeepError } from "../kernel/errors.ts";
import { assertPassesRowSecurity, isLockTimeout, lockedOut } from "./migrator.ts";
import type { MigrationClient } from "./migrator.ts";

/** An index or rollup of a large family that a migration has declared but not built. */
export interface PendingBuild {
  readonly kind: "index" | "rollup";
  readonly name: string;
}

export interface BuildOptions {
  /** Called before each build, and after each step of a rollup with the last key it has counted. */
  readonly onProgress?: (build: PendingBuild, reached: string | null) => void;
  /** Called after each build. */
  readonly onBuilt?: (build: PendingBuild) => void;
  /** The number of entries counted in one step of a rollup, during which its writers wait. Default: 5,000. */
  readonly stepEntries?: number;
}

const MAX_TRIES = 20;
const STEP_ENTRIES = 5_000;
const BUILDS_LOCK = "hashtextextended('innkeep builds', 0)";

/**
 * A concurrent index build waits for all older transactions without a limit, because it blocks neither readers nor writers. A step
 * of a rollup blocks writers while it waits for its locks.
 */
const LOCK_TIMEOUT = { index: "0", rollup: "10s" } as const;

/** The pending builds; none if the database is not migrated. */
export async function pendingBuilds(client: MigrationClient): Promise<readonly PendingBuild[]> {
  const { rows: [there] } = await client.query("select to_regclass('kv.indexes') is not null as own") as {
    rows: readonly { own: boolean }[];
  };
  return there?.own ? (await client.query("select kind, name from kv.pending()")).rows as PendingBuild[] : [];
}

/**
 * Builds pending indexes and rollups while readers and writers continue, and returns them. Requires a direct connection without an
 * open transaction. The next run continues after a crash: it rebuilds an invalid index and resumes a rollup at its last key.
 * Throws `write_conflict` if another run is active, and `invalid_configuration` if row-level security applies to the role.
 */
export async function buildPending(client: MigrationClient, options: BuildOptions = {}): Promise<PendingBuild[]> {
  const builds = await pendingBuilds(client);
  if (builds.length === 0) return [];
  await assertPassesRowSecurity(client);
  // Not a waiting lock: the waiting session would hold a snapshot, and the other run's concurrent build would wait for it.
  const { rows: [lock] } = await client.query(`select pg_try_advisory_lock(${BUILDS_LOCK}) as taken`) as {
    rows: readonly { taken: boolean }[];
  };
  if (!lock?.taken) throw await anotherRun(client);
  const done: PendingBuild[] = [];
  for (const build of await pendingBuilds(client)) {
    options.onProgress?.(build, null);
    await client.query(`set statement_timeout = 0; set lock_timeout = '${LOCK_TIMEOUT[build.kind]}'`);
    await (build.kind === "index" ? buildIndex(client, build) : fillRollup(client, build, options));
    options.onBuilt?.(build);
    done.push(build);
  }
  // After a failure, the lock is released when the connection closes.
  await client.query(`reset statement_timeout; reset lock_timeout; select pg_advisory_unlock(${BUILDS_LOCK})`);
  return done;
}

async function anotherRun(client: MigrationClient): Promise<InnkeepError> {
  const { rows: [holder] } = await client.query(
    `select l.pid, to_char(a.backend_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since
     from pg_locks l left join pg_stat_activity a using (pid)
     where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
       and l.database = (select oid from pg_database where datname = current_database())
       and ((l.classid::bigint << 32) | l.objid::bigint) = ${BUILDS_LOCK}`,
  ) as { rows: readonly { pid: number; since: string | null }[] };
  const who = holder ? ` (pid ${holder.pid}, connected since ${holder.since ?? "an unknown time"})` : "";
  const how = holder ? `, or end it with "select pg_terminate_backend(${holder.pid})"` : "";
  return new InnkeepError("write_conflict", `Another run is building indexes and rollups${who}. Wait for it to end${how}.`);
}

async function buildIndex(client: MigrationClient, { name }: PendingBuild): Promise<void> {
  for (let attempt = 1;; attempt++) {
    const { rows: [index] } = await client.query(
      "select i.indisvalid as valid from pg_index i join pg_class c on c.oid = i.indexrelid where c.relnamespace = 'kv'::regnamespace and c.relname = $1",
      [name],
    ) as { rows: readonly { valid: boolean }[] };
    if (index?.valid) break;
    try {
      if (index) await client.query(`drop index concurrently kv."${name}"`);
      const { rows: [statement] } = await client.query("select kv.index_sql($1, true) as sql", [name]) as {
        rows: readonly { sql: string }[];
      };
      await client.query(statement?.sql ?? "");
      break;
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      if (attempt >= MAX_TRIES) throw lockedOut(`The index ${name} is not built`, attempt, error);
      await jitteredPause(attempt, 50, 2_000);
    }
  }
  await client.query("update kv.indexes set built = true where name = $1", [name]);
}

async function fillRollup(
  client: MigrationClient,
  build: PendingBuild,
  { onProgress, stepEntries = STEP_ENTRIES }: BuildOptions,
): Promise<void> {
  for (let attempt = 1;;) {
    try {
      const { rows: [step] } = await client.query("select kv.fill_rollup($1, $2) as complete", [build.name, stepEntries]) as {
        rows: readonly { complete: boolean }[];
      };
      if (step?.complete) return;
      const { rows: [at] } = await client.query("select filled_to as reached from kv.rollups where rollup = $1", [build.name]) as {
        rows: readonly { reached: string | null }[];
      };
      onProgress?.(build, at?.reached ?? null);
      attempt = 1;
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      if (attempt >= MAX_TRIES) throw lockedOut(`The rollup ${build.name} is not complete`, attempt, error);
      attempt++;
      await jitteredPause(attempt, 50, 2_000);
    }
  }
}
