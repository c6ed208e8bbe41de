import { roundTripsSection } from "../http/support/round-trips.ts";
import type { Compared } from "./before.ts";
import type { Measured } from "./measure.ts";

/** One line of the table: the measurement, its contender, and the required ratio. */
export interface Row {
  readonly operation: string;
  readonly callers: number;
  readonly store: string;
  /** The contender of this line. One operation may have several lines. */
  readonly against: string;
  readonly other: string;
  readonly ratio: number;
  /** The required ratio; null if there is none. */
  readonly target: number | null;
  /** Whether the required ratio is a maximum, as for flatness. */
  readonly atMost?: boolean;
  readonly note?: string;
}

/** The measured reason why an operation misses its ratio, for the page. */
const WHY: Readonly<Record<string, string>> = {
  "get, service level":
    "on one connection, the function takes 24 µs more than a raw prepared statement (116 and 92 µs): 11 for the partitioned table in a function, 4 for its settings, and the rest to start its statement. With 64 callers, a get takes 15 µs of CPU time in the program and 18 µs in the database, which limits two cores to 60,000 per second. 4.7 of the 18 µs are the JSON text of the value, which the habit needs too.",
  "get, tenant-bound":
    "in addition to the get, the call is bound to its tenant and the row-level security policy is evaluated. One call with keys of 32 tenants takes 0.34 ms in the database, and the service's call 0.23 ms.",
  "set, durable":
    "with one caller, it is the time in the database (next line). With more callers, one batch is in flight at a time and commits to disk. A batch of 64 sets takes 1.1 ms in the database, and one upsert of 64 rows 0.44 ms.",
  "set, its time in the database":
    "one set in its own transaction takes 0.26 ms more than an empty function, and a raw upsert 0.012 ms: 0.05 to read and resolve the call, 0.04 to lock the row, 0.07 for the upsert with three indexes and the policy, and the rest to start and end the other statements and the two functions (one connection, no disk).",
  "increment of one hot key":
    "one batch is in flight at a time, and its duration hardly depends on the number of merged calls (compare the medians of 16 and 64 callers). The limit is the number of callers divided by that duration.",
  "increments over 1,000 keys":
    "each key is a separate row. In a batch of 64, a key takes about 27 µs: 14 to change the value (loops in SQL) and about 12 to write the row.",
  "mget 100":
    "a key takes about 8 µs in the database, and 7 µs with the habit's `in`. 4.7 of both are the JSON text of the value. The store also returns version, tenant and times, and creates an entry per row.",
  "mset 100":
    "a commit of 64 sets takes 1.2 ms in the database, and one upsert of 64 rows 0.5 ms. The difference is in the key locks, the resolution of each key against its family, and the partition.",
  "filtered and sorted page of 20 at 100,000 tenants":
    "the page takes 0.17 ms in the database, of which 0.05 ms are the JSON text of 21 records. Planned for each call, it would take 0.73 ms. A round trip takes another 0.1 ms. The habit has no HTTP hop here.",
  "page of 20 at depth 90,000 of 100,000": "as for the filtered page.",
  "counts by status and plan, and MRR, at 100,000 tenants":
    "it takes 0.07 ms in the database, which is less than a round trip. The habit has no HTTP hop here.",
  "delete a prefix of 10,000":
    "deleting 11,111 rows takes 4.2 ms in a plain table, 8.1 ms in a partition with three indexes, and 14.8 ms in a commit, which reads each key and its expiry for the counts by entity.",
  "HTTP GET /v1/tenants/:id with JWT and scope check, Deno":
    "concurrent requests share their reads (0.09 statements per response). The HTTP process uses most of the CPU time: 155 µs per response, and 41 µs for the constant response.",
  "HTTP POST …/usage/:metric/increment over 100 tenants":
    "concurrent requests share their reads and writes (0.21 statements per response). The HTTP process uses 212 µs of CPU time per response, and 41 µs for the constant response. An increment in a batch takes 27 µs in the database.",
  "HTTP GET /v1/tenants?limit=20&sort=-mrr with its total":
    "the page and its total take 0.25 ms in the database, and the HTTP process uses 0.54 ms of CPU time per response. The constant response uses 0.04 ms.",
};

export function reached(row: Row): boolean {
  return row.target === null || (row.atMost ? row.ratio <= row.target : row.ratio >= row.target);
}

export function rate(measured: Measured | undefined): string {
  if (!measured) return "–";
  const perSecond = measured.perSecond >= 100 ? Math.round(measured.perSecond).toLocaleString("en-US") : measured.perSecond.toPrecision(3);
  return `${perSecond}/s, ${ms(measured.medianMs)} (p99 ${ms(measured.p99Ms)})`;
}

export function ms(value: number): string {
  return value >= 100 ? `${Math.round(value)} ms` : `${value.toPrecision(3)} ms`;
}

export function line(row: Row): string {
  const verdict = row.target === null ? "" : `${required(row)} ${reached(row) ? "reached" : "NOT REACHED"}`;
  return `${row.operation} [${row.callers}]  ${row.store}  |  ${row.against} ${row.other}  |  ratio ${format(row.ratio)} ${verdict}`;
}

export function markdown(rows: readonly Row[], machine: readonly string[], both: readonly Compared[]): string {
  const missed = [...new Set(rows.filter((row) => !reached(row)).map((row) => row.operation))]
    .flatMap((operation) => WHY[operation] ? [`- ${operation}: ${WHY[operation]}`] : []);
  const notes = [...new Set(rows.flatMap((row) => row.note ? [`- ${row.operation}: ${row.note}`] : []))];
  const sections = [
    `# Performance

Written by \`npm run bench\`; do not edit. The compared programs run alternately, round by round, on one server and one data set.
The ratio is the median of the throughput ratios of the rounds. Absolute numbers depend on the machine; ratios depend on it much less.

${machine.map((fact) => `- ${fact}`).join("\n")}

"Habit" is the usual way to use a \`kv_store\` table, with plain SQL over a pool and without an HTTP gateway (tests/bench/habit.ts).`,
    table(
      ["operation", "callers", "Innkeep", "compared with", "ratio", "required", ""],
      rows.map((row) => {
        const verdict = row.target === null ? "" : reached(row) ? "reached" : "**not reached**";
        return [row.operation, row.callers, row.store, `${row.against} ${row.other}`, format(row.ratio), required(row), verdict];
      }),
    ),
    missed.length > 0 ? `Reasons for ratios that are not reached\n\n${missed.join("\n")}` : "",
    notes.length > 0 ? `Notes\n\n${notes.join("\n")}` : "",
    roundTripsSection(),
    beforeAndAfter(both),
  ];
  return `${sections.filter(Boolean).join("\n\n")}\n`;
}

function beforeAndAfter(rows: readonly Compared[]): string {
  if (rows.length === 0) return "";
  return `## Before and after

The store before commit 079b9fc (two tables with field columns) and the store that wrote this section (a partition per family). Each was
measured by its own benchmark, in one run on one machine with alternating parts: \`npm run bench -- --before=<checkout of 079b9fc>\`.

${
    table(
      ["operation", "callers", "compared with", "before", "after", "ratio before", "ratio after"],
      rows.map((
        { operation, callers, against, before, after, ratioBefore, ratioAfter },
      ) => [operation, callers, against, before, after, format(ratioBefore), format(ratioAfter)]),
    )
  }`;
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function required({ target, atMost }: Row): string {
  return target === null ? "–" : `${atMost ? "≤" : "≥"} ${target}`;
}

function format(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toPrecision(3);
}
