import { writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import process from "node:process";
import { systemClock } from "../../shared/kernel/clock.ts";
import { postgresDriver } from "../../shared/kv/drivers/postgres.ts";
import { createStore } from "../../shared/kv/sql-store.ts";
import { startCluster } from "../support/cluster.ts";
import { createDataset } from "./dataset.ts";
import { Habit } from "./habit.ts";
import { httpRows } from "./http-rows.ts";
import { listRows } from "./list-rows.ts";
import { pointRows } from "./point-rows.ts";
import { markdown, reached } from "./report.ts";
import type { Row } from "./report.ts";

/** `npm run bench -- point list http` runs those parts alone and leaves the page as it is. */
const parts = new Set(process.argv.slice(2));
const wants = (part: string) => parts.size === 0 || parts.has(part);
const rows: Row[] = [];
function report(row: Row): void {
  rows.push(row);
  const verdict = row.target === null ? "" : `${row.atMost ? "≤" : "≥"} ${row.target} ${reached(row) ? "reached" : "NOT REACHED"}`;
  console.log(`${row.operation} [${row.callers}]  ${row.store}  |  ${row.other}  |  ratio ${row.ratio.toPrecision(3)} ${verdict}`);
}

console.log("Starting PostgreSQL 18 and loading 100,000 tenants (1,000,000 entries), 1,000 and 1,000,000 …");
const cluster = await startCluster({
  durable: true,
  settings: { shared_buffers: "2GB", max_wal_size: "8GB", checkpoint_timeout: "30min" },
});
try {
  const main = await createDataset(cluster, "bench", 100_000, true, true);
  const small = await createDataset(cluster, "bench_small", 1_000, true, false);
  const million = wants("list") ? await createDataset(cluster, "bench_million", 1_000_000, false, false) : main;
  const open = (connectionString: string) =>
    createStore(postgresDriver({ connectionString, max: 16, timeoutMs: 120_000 }), { clock: systemClock });
  const stores = { large: open(main.appUrl), small: open(small.appUrl), million: open(million.appUrl) };
  const habit = new Habit(main.appUrl, 16);
  if (wants("http")) await httpRows(stores.large, main.appUrl, report);
  if (wants("point")) await pointRows(stores.large, habit, report);
  if (wants("list")) await listRows(stores, habit, report);
  await Promise.all([...Object.values(stores).map((store) => store.close()), habit.pool.end()]);
} finally {
  await cluster.remove();
}
if (parts.size === 0) {
  await writeFile(
    new URL("../../docs/performance.md", import.meta.url),
    markdown(rows, [
      `${cpus()[0]?.model ?? "unknown processor"}, ${cpus().length} cores, ${
        Math.round(totalmem() / 2 ** 30)
      } GiB; PostgreSQL 18, \`synchronous_commit\` on; client and server on the same machine`,
      "100,000 tenants, 1,000,000 entries in all, unless a line says otherwise",
    ]),
  );
}
const missed = rows.filter((row) => !reached(row));
console.log(
  missed.length === 0
    ? "Every ratio asked for was reached."
    : `${missed.length} not reached: ${missed.map((row) => row.operation).join("; ")}`,
);
