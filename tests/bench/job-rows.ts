import process from "node:process";
import pg from "pg";
import { createBackend } from "../../shared/container.ts";
import { AuditService } from "../../shared/features/audit/service.ts";
import { JobService } from "../../shared/features/jobs/service.ts";
import { isoTime, systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import type { Cluster } from "../support/cluster.ts";
import { writeChain } from "../features/retention/chain-of.ts";
import { withClient } from "../support/client.ts";
import { declareTasks, task } from "../support/task.ts";
import { type BenchDatabase, createDatabase, loadFast } from "./dataset.ts";
import { byName, interleave, median, ratio } from "./measure.ts";
import { ms, rate, type Row } from "./report.ts";

const ROUNDS = 5;
const BATCH = 1_000;
const CLAIMED = 100;
const OLD = "to_char(timestamp '2020-01-01' + i * interval '1 second', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";
const number = (value: number) => Math.round(value).toLocaleString("en-US");

/** What the jobs do at the size of `count` entries. */
export async function jobRows(cluster: Cluster, count: number, open: (url: string) => Store, report: (row: Row) => void): Promise<void> {
  const database = await createDatabase(cluster, "bench_jobs");
  const eventsPerSecond = await cleaning(database, count, open(database.appUrl), report);
  await cleaningChains(await createDatabase(cluster, "bench_chains"), count, open, { eventsPerSecond, report });
  await declareTasks(database);
  await claims(database, count, open(database.appUrl), report);
}

/** Old outgoing events are deleted by the job, and the same rows of a plain table by key, 1,000 in a statement. */
async function cleaning(database: BenchDatabase, count: number, store: Store, report: (row: Row) => void): Promise<number> {
  await loadFast(database, async (client) => {
    await client.query(EVENTS, [count]);
    await client.query("create table public.events as select key, value from kv.entries_outbox");
    await client.query("alter table public.events add primary key (key)");
    await client.query("create index events_by_time on public.events ((value->>'createdAt'))");
    await client.query("grant select, delete on public.events to innkeep_app");
  });
  const backend = createBackend({ store, clock: systemClock, logger: silentLogger });
  const jobs = new JobService(backend.bind(systemContext(systemClock, "bench", "jobs")));
  const pool = new pg.Pool({ connectionString: database.appUrl, max: 1 });
  const rates: Record<"job" | "habit", number[]> = { job: [], habit: [] };
  const rss = [process.memoryUsage().rss];
  let cpuMs = 0;
  let calls = 0;
  try {
    for (let round = 0; round < ROUNDS; round++) {
      rates.job.push(
        await perSecond(count / ROUNDS, async () => {
          const before = process.cpuUsage();
          const { processed, errors } = await jobs.run("cleanup");
          if (errors.length > 0) throw new Error(`the cleanup failed: ${JSON.stringify(errors)}`);
          const { user, system } = process.cpuUsage(before);
          cpuMs = Math.max(cpuMs, (user + system) / 1_000);
          calls++;
          return processed;
        }),
      );
      rss.push(process.memoryUsage().rss);
      rates.habit.push(await perSecond(count / ROUNDS, async () => (await pool.query(HABIT_DELETE, [BATCH])).rowCount ?? 0));
    }
  } finally {
    await pool.end();
  }
  const left = await store.count("outbox");
  if (left > 0) throw new Error(`${left} of ${count} entries are left`);
  const mib = rss.map((bytes) => Math.round(bytes / 2 ** 20));
  report({
    operation: `cleaning ${number(count)} outgoing events past their retention`,
    callers: 1,
    store: `${number(median(rates.job))} rows/s`,
    against: "delete of 1,000 by key from a plain table, without checks and counts",
    other: `${number(median(rates.habit))} rows/s`,
    ratio: median(rates.job.map((each, i) => each / (rates.habit[i] ?? each))),
    target: null,
    note: `${calls} calls of the job; the one with the most CPU time took ${ms(cpuMs)} of it in the program; memory of the process ` +
      `${mib[0]} MiB before and ${mib.slice(1).join(", ")} MiB after each fifth`,
  });
  return median(rates.job);
}

const CHAINS = 100;

/** Old audit entries are deleted by the job from the beginnings of their chains, which then still verify. */
async function cleaningChains(
  database: BenchDatabase,
  count: number,
  open: (url: string) => Store,
  { eventsPerSecond, report }: { readonly eventsPerSecond: number; readonly report: (row: Row) => void },
): Promise<void> {
  const store = open(database.appUrl);
  const options = { store, clock: systemClock, logger: silentLogger };
  const work = createBackend(options).bind(systemContext(systemClock, "bench", "jobs"));
  const jobs = new JobService(work);
  const [each, kept] = [Math.floor(count / CHAINS), 10];
  const clock = { iso: (offsetMs: number) => isoTime(Date.now() + offsetMs) };
  const ids = Array.from({ length: CHAINS }, (_, i) => `tn_${String(i).padStart(7, "0")}`);
  for (const id of ids) {
    await store.commit([], [{ op: "set", key: `audit:${id}:${clock.iso(0)}:first`, value: FIRST, tenantId: id, cascades: false }]);
    await writeChain({ clock, database }, id, each, each - kept);
  }
  const rss = [process.memoryUsage().rss];
  const rates: number[] = [];
  let calls = 0;
  for (let round = 0; round < ROUNDS; round++) {
    rates.push(
      await perSecond((each - kept) * CHAINS / ROUNDS, async () => {
        calls++;
        return (await jobs.run("cleanup")).processed;
      }),
    );
    rss.push(process.memoryUsage().rss);
  }
  const audit = new AuditService(work);
  for (const id of ids) {
    const { ok, checked } = await audit.verify(id);
    if (!ok || checked !== kept) throw new Error(`the chain of ${id} does not verify: ${checked} entries are left`);
  }
  const mib = rss.map((bytes) => Math.round(bytes / 2 ** 20));
  report({
    operation: `cleaning ${number(count)} audit entries of ${CHAINS} chains, which verify afterwards`,
    callers: 1,
    store: `${number(median(rates))} rows/s`,
    against: "cleaning outgoing events",
    other: `${number(eventsPerSecond)} rows/s`,
    ratio: median(rates) / eventsPerSecond,
    target: null,
    note: `${calls} calls of the job; memory of the process ${mib[0]} MiB before and ${mib.slice(1).join(", ")} MiB after each fifth`,
  });
}

const FIRST = { action: "room.opened", contentHash: "0".repeat(64) };

/** Rows per second until `rows` are done. */
async function perSecond(rows: number, run: () => Promise<number>): Promise<number> {
  const started = performance.now();
  let done = 0;
  // The last call of a run may find nothing more.
  for (let idle = 0; done < rows && idle < 2;) {
    const now = await run();
    idle = now === 0 ? idle + 1 : 0;
    done += now;
  }
  return done / ((performance.now() - started) / 1_000);
}

/** 100 due items are claimed among `count`: of 1,000 tenants, and of one tenant that has nearly all of them. */
async function claims(database: BenchDatabase, count: number, store: Store, report: (row: Row) => void): Promise<void> {
  const pool = new pg.Pool({ connectionString: database.appUrl, max: 1 });
  try {
    for (const [whose, tenant] of Object.entries(TENANTS)) {
      await loadFast(database, async (client) => {
        await client.query("delete from kv.entries where key >= 'task:' and key < 'task;'");
        await client.query(tasks(tenant), [count]);
        await client.query("drop table if exists public.queue");
        await client.query("create table public.queue as select key, owner, value->>'dueAt' as due_at from kv.entries_task");
        await client.query("alter table public.queue add primary key (key)");
        await client.query("create index queue_by_time on public.queue (due_at, key)");
        await client.query("grant select, update on public.queue to innkeep_app");
      });
      await withClient(database.superUrl, (client) => client.query("vacuum (analyze) public.queue"));
      const until = () => isoTime(Date.now() + 3_600_000);
      const claim = async (perTenant?: number) => {
        const fair = perTenant === undefined ? {} : { perTenant };
        const taken = await store.claim({ entity: task, due: "dueAt", until: until(), set: { leaseId: "bench" }, limit: CLAIMED, ...fair });
        if (taken.length === 0) throw new Error("nothing was due");
      };
      const of = byName(
        await interleave([
          { name: "plain", run: () => claim() },
          { name: "fair", run: () => claim(10) },
          { name: "raw", run: () => pool.query({ name: "claim", text: RAW_CLAIM, values: [until(), isoTime(Date.now()), CLAIMED] }) },
        ], { callers: 1, operations: Math.max(5, Math.min(50, Math.floor(count / 5_000))), rounds: 9 }),
      );
      for (const [name, what] of [["plain", "claim of 100"], ["fair", "fair claim of 100, 10 of a tenant,"]] as const) {
        report({
          operation: `${what} among ${number(count)} due items ${whose}`,
          callers: 1,
          store: rate(of(name)),
          against: "update of 100 in a plain table with for update skip locked",
          other: rate(of("raw")),
          ratio: ratio(of(name), of("raw")),
          target: null,
        });
      }
    }
  } finally {
    await pool.end();
  }
}

const EVENTS = `
  insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
  select 'outbox:evt_' || lpad(i::text, 9, '0'), jsonb_build_object('id', 'evt_' || lpad(i::text, 9, '0'), 'type', 'tenant.updated',
    'subject', 'tn_' || i % 1000, 'tenantId', 'tn_' || i % 1000, 'data', jsonb_build_object('plan', 'Pro', 'mrr', 4900), 'createdAt', ${OLD}),
    nextval('kv.versions'), 'tn_' || i % 1000, false, now(), now()
  from generate_series(0, $1::int - 1) i`;

const HABIT_DELETE =
  `delete from public.events where key = any(array(select key from public.events order by value->>'createdAt' limit $1))`;

const TENANTS = {
  "of 1,000 tenants": "'tn_' || i % 1000",
  "of which one of 1,000 tenants has nearly all": "'tn_' || greatest(0, i - ($1::int - 1000))",
};

const tasks = (tenant: string) => `
  insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
  select 'task:t' || lpad(i::text, 9, '0'), jsonb_build_object('id', 't' || lpad(i::text, 9, '0'), 'tenantId', ${tenant}, 'kind', 'mail', 'dueAt', ${OLD}),
    nextval('kv.versions'), ${tenant}, true, now(), now()
  from generate_series(0, $1::int - 1) i`;

const RAW_CLAIM = `
  update public.queue q set due_at = $1 from (
    select key from public.queue where due_at <= $2 order by due_at, key limit $3 for update skip locked) due
  where q.key = due.key returning q.key, q.owner`;
