import { jitteredPause } from "../kernel/backoff.ts";
import { InnkeepError } from "../kernel/errors.ts";
import { assertPassesRowSecurity } from "./migrator.ts";
import type { MigrationClient } from "./migrator.ts";

/** What a migration left to be built beside a large family, one index or rollup. */
export interface PendingBuild {
  readonly kind: "index" | "rollup";
  readonly name: string;
}

export interface BuildOptions {
  /** Called before each build, and for a rollup after each step with the key it has reached; for progress lines. */
  readonly onProgress?: (build: PendingBuild, reached: string | null) => void;
  /** Entries counted in one step of a rollup, 5,000 when left out: writers wait for a step. */
  readonly stepEntries?: number;
}

const MAX_TRIES = 20;
const STEP_ENTRIES = 5_000;

export async function pendingBuilds(client: MigrationClient): Promise<readonly PendingBuild[]> {
  const { rows: [there] } = await client.query("select to_regclass('kv.indexes') is not null as own") as {
    rows: readonly { own: boolean }[];
  };
  return there?.own ? (await client.query("select kind, name from kv.pending()")).rows as PendingBuild[] : [];
}

/**
 * Builds what is pending while readers and writers go on, and returns what it built. Outside of any transaction, on a
 * direct connection. What a crash interrupts the next run takes up: an index that is not valid is built anew, a rollup
 * goes on from the key it reached. Two runs at once are refused with `write_conflict`.
 */
export async function buildPending(client: MigrationClient, options: BuildOptions = {}): Promise<PendingBuild[]> {
  const builds = await pendingBuilds(client);
  if (builds.length === 0) return [];
  await assertPassesRowSecurity(client);
  // Tried, not waited for: a session that waits holds a snapshot, for which a concurrent build would wait in turn.
  const { rows: [lock] } = await client.query("select pg_try_advisory_lock(hashtextextended('innkeep builds', 0)) as taken") as {
    rows: readonly { taken: boolean }[];
  };
  if (!lock?.taken) throw new InnkeepError("write_conflict", "another run is building indexes and rollups; wait for it to end");
  await client.query("set statement_timeout = 0; set lock_timeout = '10s'");
  const done: PendingBuild[] = [];
  for (const build of await pendingBuilds(client)) {
    options.onProgress?.(build, null);
    await (build.kind === "index" ? buildIndex(client, build) : fillRollup(client, build, options));
    done.push(build);
  }
  // A run that failed leaves the lock to the end of its connection, which may be gone already.
  await client.query("reset statement_timeout; reset lock_timeout; select pg_advisory_unlock(hashtextextended('innkeep builds', 0))");
  return done;
}

async function buildIndex(client: MigrationClient, { name }: PendingBuild): Promise<void> {
  for (let attempt = 1;; attempt++) {
    const { rows: [index] } = await client.query(
      "select i.indisvalid as valid from pg_index i join pg_class c on c.oid = i.indexrelid where c.relnamespace = 'kv'::regnamespace and c.relname = $1",
      [name],
    ) as { rows: readonly { valid: boolean }[] };
    if (index?.valid) break;
    if (index) await client.query(`drop index concurrently kv."${name}"`);
    const { rows: [statement] } = await client.query("select kv.index_sql($1, true) as sql", [name]) as {
      rows: readonly { sql: string }[];
    };
    try {
      await client.query(statement?.sql ?? "");
      break;
    } catch (error) {
      if (!isTransient(error) || attempt >= MAX_TRIES) throw error;
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
      if (!isTransient(error) || attempt++ >= MAX_TRIES) throw error;
      await jitteredPause(attempt, 50, 2_000);
    }
  }
}

/** A lock that was not to be had in time, or a deadlock: rolled back, and worth another try. */
function isTransient(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "55P03" || error.code === "40P01");
}
