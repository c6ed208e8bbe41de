import pg from "pg";
import type { Cluster } from "../support/cluster.ts";
import { withClient } from "../support/client.ts";
import { createDatabase, loadFast } from "./dataset.ts";
import type { BenchDatabase } from "./dataset.ts";
import { median } from "./measure.ts";
import { ms } from "./report.ts";
import type { Row } from "./report.ts";

const ROWS = 10_000_000;
const READERS = 4;
const ROUNDS = 9;

/** How long a reader waits while a migration declares an entity beside 10,000,000 rows of another one. */
export async function growthRows(cluster: Cluster, report: (row: Row) => void): Promise<void> {
  const database = await createDatabase(cluster, "bench_growth");
  await loadFast(database, async (client) => void await client.query(USAGE, [ROWS]));
  const quiet: number[] = [];
  const waits: number[] = [];
  const locked: number[] = [];
  const took: number[] = [];
  for (let round = -1; round < ROUNDS; round++) { // round -1 warms up
    const before = await longestRead(database, () => new Promise((resolve) => setTimeout(resolve, 50)));
    let sum = 0;
    const during = await longestRead(database, async () => {
      const started = performance.now();
      await declare(database, `grown${round + 1}`);
      sum = performance.now() - started;
    });
    if (round < 0) continue;
    quiet.push(before.call);
    waits.push(during.call);
    locked.push(during.lock);
    took.push(sum);
  }
  report({
    operation: "a new entity beside 10,000,000 rows of another: the longest call of a reader, in ms",
    callers: READERS,
    store: ms(Math.max(...waits)),
    against: "longest call without it",
    other: ms(Math.max(...quiet)),
    ratio: Math.max(...waits),
    target: 50,
    atMost: true,
    note: `the migration took ${ms(median(took))} (median of ${ROUNDS}): a family, an entity, five indexes and a rollup; ` +
      `sampled every two milliseconds, a reader waited for a lock for at most ${ms(Math.max(...locked))}`,
  });
}

/** The longest call of concurrent readers while `work` runs, and their longest lock wait, in milliseconds. */
async function longestRead({ appUrl, superUrl }: BenchDatabase, work: () => Promise<unknown>): Promise<{ call: number; lock: number }> {
  const readers = await Promise.all(Array.from({ length: READERS }, async () => {
    const client = new pg.Client({ connectionString: appUrl, application_name: "bench_reader" });
    await client.connect();
    for (let i = 0; i < 20; i++) await read(client, i);
    return client;
  }));
  let working = true;
  const reading = Promise.all(readers.map(async (client, reader) => {
    let longest = 0;
    for (let i = reader; working; i += READERS) {
      const started = performance.now();
      await read(client, i);
      longest = Math.max(longest, performance.now() - started);
    }
    return longest;
  }));
  const sampling = withClient(superUrl, async (client) => {
    const since = new Map<number, number>();
    let longest = 0;
    while (working) {
      const { rows } = await client.query<{ pid: number }>(
        "select pid from pg_stat_activity where application_name = 'bench_reader' and wait_event_type = 'Lock'",
      );
      const now = performance.now();
      for (const pid of since.keys()) if (!rows.some((row) => row.pid === pid)) since.delete(pid);
      for (const { pid } of rows) {
        since.set(pid, since.get(pid) ?? now);
        longest = Math.max(longest, now - (since.get(pid) ?? now));
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return longest;
  });
  await work();
  working = false;
  const [calls, lock] = await Promise.all([reading, sampling]);
  await Promise.all(readers.map((client) => client.end()));
  return { call: Math.max(...calls), lock };
}

/** Keys of the large family and of no family: a new family locks the default partition. */
async function read(client: pg.Client, i: number): Promise<void> {
  const key = i % 3 === 0 ? `undeclared:${i}` : `usage:${String((i * 7919) % ROWS).padStart(8, "0")}`;
  await client.query({ name: "kv_get", text: "select public.kv_get($1, now())", values: [key] });
}

async function declare({ ownerUrl }: BenchDatabase, family: string): Promise<void> {
  await withClient(ownerUrl, async (owner) => {
    await owner.query("begin");
    await owner.query("set local lock_timeout = '50ms'"); // as the migrator does
    await owner.query(`select kv.add_family('${family}')`);
    await owner.query(`select kv.add_entity('${family}', '${family}', 1, owner_rule => 'segment')`);
    for (const fields of ["createdAt time", "name text", "status text, createdAt time", "status text, name text", "search(name)"]) {
      await owner.query("select kv.add_index($1, $2)", [family, fields]);
    }
    await owner.query(`select kv.add_rollup('${family}', '{status}')`);
    await owner.query("commit");
  });
}

const USAGE = `
  insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
  select 'usage:' || lpad(i::text, 8, '0'), '{}', i, null, true, now(), now() from generate_series(0, $1::int - 1) i`;
