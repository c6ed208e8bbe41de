import type { MigrationClient } from "./migrator.ts";

const ASK_EVERY_MS = 250;
/** A wait is reported every three seconds. */
const ASKS_PER_REPORT = 12;

const WAIT = `
  select case l.locktype
      when 'relation' then 'a lock on ' || l.relation::regclass || ', held'
      when 'virtualxid' then 'a transaction that began earlier, held open'
      when 'transactionid' then 'a transaction that began earlier, held open'
      when 'advisory' then case when l.objsubid = 1 then 'another migration, run' else 'a commit that a rollup counts, held open' end
      else 'a lock (' || l.locktype || '), held' end as what,
    holder.pid, concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state) as who,
    to_char(coalesce(a.xact_start, a.backend_start) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since
  from pg_locks l cross join lateral unnest(pg_blocking_pids(l.pid)) holder (pid)
    left join pg_stat_activity a on a.pid = holder.pid
  where l.pid = $1 and not l.granted limit 1`;

interface WaitRow {
  readonly what: string;
  readonly pid: number;
  readonly who: string;
  readonly since: string | null;
}

/**
 * Runs `work` on `client`. While that connection waits for a lock, reports every three seconds the lock, its holder and since when.
 * `observer` is a second connection to the same database; PostgreSQL shows it the state and time of other roles' sessions only if
 * it is a member of pg_read_all_stats.
 */
export async function reportingWaits<T>(
  client: MigrationClient,
  observer: MigrationClient,
  report: (line: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  const { rows: [backend] } = await client.query("select pg_backend_pid() as pid") as {
    readonly rows: readonly { readonly pid: number }[];
  };
  const ended = new AbortController();
  // If the observer's connection fails, the work continues without reports.
  const watching = watch(observer, backend?.pid ?? 0, report, ended.signal).catch(() => undefined);
  try {
    return await work();
  } finally {
    ended.abort();
    await watching;
  }
}

async function watch(observer: MigrationClient, pid: number, report: (line: string) => void, ended: AbortSignal): Promise<void> {
  for (let asks = 0, reportFrom = 0; !ended.aborted; asks++) {
    const { rows: [wait] } = await observer.query(WAIT, [pid]) as { readonly rows: readonly WaitRow[] };
    if (wait && asks >= reportFrom) {
      report(lineOf(wait));
      reportFrom = asks + ASKS_PER_REPORT;
    }
    await pause(ASK_EVERY_MS, ended);
  }
}

function lineOf({ what, pid, who, since }: WaitRow): string {
  return `waiting for ${what} by pid ${pid}${who ? ` (${who})` : ""}${since ? ` since ${since}` : ""}`;
}

function pause(ms: number, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (ended.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      ended.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    ended.addEventListener("abort", done);
  });
}
