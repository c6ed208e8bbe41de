import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parse } from "../../functions/local/options.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import { Refusal, runProgram } from "../../functions/local/refusal.ts";
import { startCluster } from "../support/cluster.ts";
import { auditRows } from "./audit-rows.ts";
import { compared, earlierRows } from "./before.ts";
import type { Compared, EarlierRow } from "./before.ts";
import { consumeRows } from "./consume-rows.ts";
import { dashboardRows } from "./dashboard-rows.ts";
import { createDatabase, createDataset } from "./dataset.ts";
import { deliveryRows } from "./delivery-rows.ts";
import { eventRows } from "./event-rows.ts";
import { flagRows } from "./flag-rows.ts";
import { growthRows } from "./growth-rows.ts";
import { Habit } from "./habit.ts";
import { httpRows } from "./http-rows.ts";
import { jobRows } from "./job-rows.ts";
import { keyRows } from "./key-rows.ts";
import { listRows } from "./list-rows.ts";
import { neighbourRows } from "./neighbour-rows.ts";
import { notificationRows } from "./notification-rows.ts";
import { pointRows } from "./point-rows.ts";
import { pollingRows } from "./polling-rows.ts";
import { rateRows } from "./rate-rows.ts";
import { renewalRows } from "./renewal-rows.ts";
import { replayRows } from "./replay-rows.ts";
import { sealedRows } from "./sealed-rows.ts";
import { settingsRows } from "./settings-rows.ts";
import { line, markdown, reached } from "./report.ts";
import type { Row } from "./report.ts";

/**
 * In the order of the page. `npm run bench -- point http` runs only those parts and does not write the page. With
 * `--before=<checkout>`, each part also runs in that checkout first, and the page compares the two.
 */
const PARTS = [
  "point",
  "list",
  "neighbours",
  "growth",
  "jobs",
  "audit",
  "consume",
  "events",
  "polling",
  "notifications",
  "deliveries",
  "replays",
  "flags",
  "http",
  "limits",
  "keys",
  "secrets",
  "settings",
  "dashboard",
] as const;
type Part = typeof PARTS[number];
const IN_BOTH: readonly Part[] = ["point", "list", "http"];
const HELP = `npm run bench -- [${PARTS.join("] [")}]     measures, and writes docs/performance.md if all parts run

  --rows=N      the number of entries of the part jobs (default: 1000000); another one does not write the page
  --before=DIR  also measure each part in this checkout of an earlier commit and compare the two
  -h, --help    print this text

It loads millions of rows into a temporary PostgreSQL.`;
const chosen = process.argv.slice(2).filter((argument) => !argument.startsWith("-"));
let before: string | undefined;
const ROWS = 1_000_000;
let jobEntries = ROWS;
await runProgram(() => {
  const values = parse(process.argv.slice(2).filter((argument) => argument.startsWith("-")), {
    before: { type: "string" },
    rows: { type: "string", default: String(ROWS) },
  });
  const unknown = chosen.filter((part) => !PARTS.some((known) => known === part));
  if (unknown.length > 0) throw new Refusal(`there is no part ${unknown.join(", ")}: use ${PARTS.join(", ")}`);
  if (values["help"]) console.log(HELP);
  if (values["help"]) process.exit(0);
  before = typeof values["before"] === "string" ? values["before"] : undefined;
  jobEntries = Number(values["rows"]);
  if (!Number.isInteger(jobEntries) || jobEntries < 10_000) throw new Refusal("--rows must be a whole number of at least 10000");
  if (before !== undefined && !existsSync(join(before, "tests/bench/run.ts"))) {
    throw new Refusal(`--before must be a checkout of this project, not ${before}`);
  }
  return Promise.resolve();
});

const started = performance.now();
const earlier: EarlierRow[] = [];
const rows = Object.fromEntries(PARTS.map((name): [Part, Row[]] => [name, []])) as Record<Part, Row[]>;
async function part(name: Part, run: (report: (row: Row) => void) => Promise<void>): Promise<void> {
  if (chosen.length > 0 && !chosen.includes(name)) return;
  if (before !== undefined && IN_BOTH.includes(name)) earlier.push(...await earlierRows(before, name));
  console.log(`-- ${name}, after ${Math.round((performance.now() - started) / 1000)} s`);
  await run((row) => {
    rows[name].push(row);
    console.log(line(row));
    if (row.note !== undefined) console.log(`   ${row.note}`);
  });
}

const cluster = await startCluster({
  durable: true,
  settings: { autovacuum: "on", shared_buffers: "2GB", max_wal_size: "16GB", checkpoint_timeout: "30min" },
});
const opened: { close(): Promise<void> }[] = [];
try {
  const open = (connectionString: string) => {
    const store = createStore(postgresDriver({ connectionString, max: 16, timeoutMs: 120_000 }), { clock: systemClock });
    opened.push(store);
    return store;
  };
  const habitOf = (connectionString: string) => {
    const habit = new Habit(connectionString, 16);
    opened.push({ close: () => habit.pool.end() });
    return habit;
  };
  // Loaded by the first part that needs it.
  let loading: ReturnType<typeof createDataset> | undefined;
  const large = () => loading ??= createDataset(cluster, "bench", { tenants: 100_000, details: true, habit: "all" });

  await part("http", async (report) => {
    const { appUrl } = await large();
    await httpRows(open(appUrl), appUrl, report);
  });
  await part("point", async (report) => {
    const { appUrl } = await large();
    await pointRows(open(appUrl), habitOf(appUrl), appUrl, report);
  });
  await part("neighbours", async (report) => await neighbourRows(open((await large()).appUrl), report));
  await part("list", async (report) => {
    const { appUrl, superUrl } = await large();
    const small = await createDataset(cluster, "bench_small", { tenants: 1_000, details: true, domains: 10_000 });
    const million = await createDataset(cluster, "bench_million", {
      tenants: 1_000_000,
      domains: 1_000_000,
      habit: "domains",
      unsearched: true,
    });
    console.log(`   loaded after ${Math.round((performance.now() - started) / 1000)} s`);
    const stores = { large: open(appUrl), small: open(small.appUrl), million: open(million.appUrl) };
    await listRows(stores, { large: habitOf(appUrl), million: habitOf(million.appUrl) }, superUrl, report);
  });
  await part("limits", async (report) => {
    const { appUrl } = await createDataset(cluster, "bench_limits", { tenants: 1_000 });
    await rateRows(open(appUrl), appUrl, report);
  });
  await part("settings", async (report) => await settingsRows(open((await large()).appUrl), report));
  await part("keys", async (report) => {
    const { appUrl } = await createDataset(cluster, "bench_keys", { tenants: 1_000, habit: "all" });
    await keyRows(open(appUrl), habitOf(appUrl), report);
  });
  await part("secrets", async (report) => {
    const { appUrl } = await createDatabase(cluster, "bench_secrets");
    await sealedRows(open(appUrl), report);
  });
  await part("dashboard", async (report) => {
    const { appUrl } = await createDataset(cluster, "bench_dashboard", { tenants: 100_000 });
    await dashboardRows(open(appUrl), report);
  });
  await part("growth", (report) => growthRows(cluster, report));
  await part("consume", (report) => consumeRows(cluster, open, report));
  await part("events", (report) => eventRows(cluster, open, report));
  await part("polling", (report) => pollingRows(cluster, open, report));
  await part("notifications", (report) => notificationRows(cluster, open, report));
  await part("deliveries", (report) => deliveryRows(cluster, open, report));
  await part("replays", (report) => replayRows(cluster, open, report));
  await part("flags", (report) => flagRows(cluster, open, report));
  await part("audit", (report) => auditRows(cluster, open, report));
  await part("jobs", async (report) => {
    await renewalRows(cluster, open, report);
    await jobRows(cluster, jobEntries, open, report);
  });
} finally {
  await Promise.allSettled(opened.map((each) => each.close()));
  await cluster.remove();
}

const all = PARTS.flatMap((name) => rows[name]);
if (chosen.length === 0 && jobEntries === ROWS) {
  const kept = new URL("before-and-after.json", import.meta.url);
  if (before !== undefined) await writeFile(kept, `${JSON.stringify(compared(earlier, all), null, 2)}\n`);
  const both = JSON.parse(await readFile(kept, "utf8").catch(() => "[]")) as Compared[];
  await writeFile(
    new URL("../../docs/performance.md", import.meta.url),
    markdown(all, [
      `${cpus()[0]?.model ?? "unknown processor"}, ${cpus().length} cores, ${
        Math.round(totalmem() / 2 ** 30)
      } GiB; PostgreSQL 18, \`synchronous_commit\` on; client and server on the same machine`,
      "100,000 tenants, 1,000,000 entries in all, unless a line says otherwise",
    ], both),
  );
}
const missed = all.filter((row) => !reached(row));
console.log(`Took ${Math.round((performance.now() - started) / 1000)} s.`);
console.log(
  missed.length === 0
    ? "Every required ratio was reached."
    : `${missed.length} not reached: ${missed.map(({ operation, callers }) => `${operation} [${callers}]`).join("; ")}`,
);
