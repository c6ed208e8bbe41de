import process from "node:process";
import pg from "pg";
import { createBackend } from "../../shared/container.ts";
import { AuditService } from "../../shared/features/audit/service.ts";
import { isoTime, systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import { writeChain } from "../features/retention/chain-of.ts";
import type { Cluster } from "../support/cluster.ts";
import { type BenchDatabase, createDatabase, createDataset, loadFast } from "./dataset.ts";
import { byName, interleave, ratio } from "./measure.ts";
import { rate, type Row } from "./report.ts";

const CALLERS = 64;
const ROUND = 500;
const VERIFIED = 100_000;
const EXPORTED = 1_000_000;
/** The raw rows are read to this number only: their rate does not depend on it. */
const RAW = 200_000;
/** What the memory of the process may grow after the first tenth of an export. */
const GROWTH_MIB = 100;
const [WRITTEN_TO, LONG, LONGEST] = ["tn_0000007", "tn_verified", "tn_exported"];
const FIRST = { action: "room.opened", contentHash: "0".repeat(64) };
const number = (value: number) => Math.round(value).toLocaleString("en-US");

/** Writes to one chain, its verification, and the export of a long one. */
export async function auditRows(cluster: Cluster, open: (url: string) => Store, report: (row: Row) => void): Promise<void> {
  await writes(open((await createDataset(cluster, "bench_audit", { tenants: 1_000 })).appUrl), report);
  const database = await createDatabase(cluster, "bench_audit_long");
  const store = open(database.appUrl);
  for (const [id, entries] of [[LONG, VERIFIED], [LONGEST, EXPORTED]] as const) await chain(database, store, id, entries);
  const exported = await exports(database, serviceOf(store), report);
  await verification(serviceOf(store), exported, report);
}

function serviceOf(store: Store): AuditService {
  const { bind } = createBackend({ store, clock: systemClock, logger: silentLogger });
  return new AuditService(bind(systemContext(systemClock, "bench")));
}

/** The entries of one tenant wait for each other, because each contains the hash of the one before it. */
async function writes(store: Store, report: (row: Row) => void): Promise<void> {
  const service = serviceOf(store);
  const log = (tenantId: string) => service.log("plan.updated", "plan", "Pro", { tenantId });
  const of = byName(
    await interleave([
      { name: "one", run: () => log(WRITTEN_TO) },
      { name: "many", run: (i) => log(`tn_${String(100 + i % CALLERS).padStart(7, "0")}`) },
    ], { callers: CALLERS, operations: ROUND, rounds: 5 }),
  );
  const { ok, checked } = await service.verify(WRITTEN_TO);
  const head = await store.chainHead(WRITTEN_TO);
  // With the round that warms up.
  const written = 6 * ROUND;
  if (!ok || checked !== written || head?.seq !== checked) throw new Error(`the chain has ${checked} valid entries of ${written}`);
  report({
    operation: "audit entries of one tenant, whose chain verifies afterwards",
    callers: CALLERS,
    store: rate(of("one")),
    against: `of ${CALLERS} tenants`,
    other: rate(of("many")),
    ratio: ratio(of("one"), of("many")),
    target: null,
  });
}

async function chain(database: BenchDatabase, store: Store, id: string, entries: number): Promise<void> {
  const clock = { iso: (offsetMs: number) => isoTime(Date.now() + offsetMs) };
  await store.commit([], [{ op: "set", key: `audit:${id}:${clock.iso(0)}:first`, value: FIRST, tenantId: id, cascades: false }]);
  await loadFast(database, () => writeChain({ clock, database }, id, entries, 0));
}

/** Reads the whole export, and the memory of the process after each tenth. Returns the entries a second. */
async function exports(database: BenchDatabase, service: AuditService, report: (row: Row) => void): Promise<number> {
  const rss: number[] = [];
  const started = performance.now();
  let [lines, next] = [0, EXPORTED / 10];
  const { content } = await service.download(LONGEST, {}, "application/x-ndjson");
  for await (const part of content as unknown as AsyncIterable<Uint8Array>) {
    for (const byte of part) if (byte === 10) lines++;
    if (lines < next) continue;
    rss.push(process.memoryUsage().rss / 2 ** 20);
    next += EXPORTED / 10;
  }
  const perSecond = lines / ((performance.now() - started) / 1_000);
  if (lines !== EXPORTED) throw new Error(`${lines} of ${EXPORTED} entries were exported`);
  const raw = await rawPerSecond(database);
  const [first = 0] = rss;
  const note = `memory of the process after each tenth, in MiB: ${rss.map((mib) => Math.round(mib)).join(", ")}`;
  report({
    operation: `export of ${number(EXPORTED)} audit entries`,
    callers: 1,
    store: `${number(perSecond)} entries/s`,
    against: "pages of 500 of the same rows, in SQL",
    other: `${number(raw)} rows/s`,
    ratio: perSecond / raw,
    target: null,
  });
  report({
    operation: `export of ${number(EXPORTED)} audit entries: growth of the memory after the first tenth, in MiB`,
    callers: 1,
    store: `${Math.round(Math.max(...rss) - first)} MiB`,
    against: "after the first tenth",
    other: `${Math.round(first)} MiB`,
    ratio: Math.max(...rss) - first,
    target: GROWTH_MIB,
    atMost: true,
    note,
  });
  return perSecond;
}

async function rawPerSecond({ superUrl }: BenchDatabase): Promise<number> {
  const pool = new pg.Pool({ connectionString: superUrl, max: 1 });
  const started = performance.now();
  let rows = 0;
  try {
    for (let after = `audit:${LONGEST}:`; rows < RAW;) {
      const sql = "select key, value::text from kv.entries where key > $1 and key < $2 order by key limit 500";
      const page = await pool.query<{ key: string }>(sql, [after, `audit:${LONGEST}:~`]);
      rows += page.rows.length;
      after = page.rows.at(-1)?.key ?? "~";
    }
  } finally {
    await pool.end();
  }
  return rows / ((performance.now() - started) / 1_000);
}

async function verification(service: AuditService, exported: number, report: (row: Row) => void): Promise<void> {
  const started = performance.now();
  const { ok, checked } = await service.verify(LONG);
  const perSecond = checked / ((performance.now() - started) / 1_000);
  if (!ok || checked !== VERIFIED) throw new Error(`${checked} of ${VERIFIED} entries are valid`);
  report({
    operation: `verification of a chain of ${number(VERIFIED)} audit entries`,
    callers: 1,
    store: `${number(perSecond)} entries/s`,
    against: "their export",
    other: `${number(exported)} entries/s`,
    ratio: perSecond / exported,
    target: null,
  });
}
