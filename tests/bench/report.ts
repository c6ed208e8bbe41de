import { roundTripsSection } from "../http/support/round-trips.ts";
import type { Compared } from "./before.ts";
import type { Measured } from "./measure.ts";

/** One line of the table: what was measured, against what, and what store.md §5 asks for. */
export interface Row {
  readonly operation: string;
  readonly callers: number;
  readonly store: string;
  /** With what it is compared: one operation has several lines. */
  readonly against: string;
  readonly other: string;
  readonly ratio: number;
  /** The ratio to reach; null where the line only informs. */
  readonly target: number | null;
  /** For "at most" targets such as flatness. */
  readonly atMost?: boolean;
  readonly note?: string;
}

/** What holds an operation back, for the page, when its line misses its ratio. Measured facts only. */
const WHY: Readonly<Record<string, string>> = {
  "get, service level":
    "alone, on one connection, the function takes 24 µs more than a raw prepared statement (116 and 92 µs): 11 for the partitioned table within a function, 4 for its settings, the rest to start its statement. With 64 callers a get takes 15 µs of the program's processor and 18 of the database's, so two cores end at 60,000 a second; 4.7 of the 18 are the value's JSON text, which the habit pays too.",
  "get, tenant-bound":
    "beside the get, binding the call to its tenant and the policy of row-level security; 32 tenants' keys in one call took the database 0.34 ms where the service's took 0.23.",
  "set, durable":
    "alone it is the time in the database (next line); with more callers one batch is in flight at a time and commits to disk, and a batch of 64 sets takes the database 1.1 ms where one upsert of 64 rows takes 0.44.",
  "set, its time in the database":
    "a call of one set in a transaction of its own takes 0.26 ms beyond an empty function, a raw upsert 0.012: reading and resolving the call 0.05, locking the row 0.04, the upsert with its three indexes and its policy 0.07, starting and ending the other statements and the two functions the rest (calls over one connection, no disk).",
  "increment of one hot key":
    "one batch is in flight at a time and its length hardly depends on how many calls it merges (compare the medians of 16 and 64 callers), so callers divided by that length is the limit.",
  "increments over 1,000 keys":
    "each key is a row of its own: in a batch of 64 about 27 µs a key, of which changing the value takes 14 (loops in SQL) and writing the row about 12.",
  "mget 100":
    "about 8 µs a key in the database, where the habit's `in` takes 7: 4.7 of both are the value's JSON text; beside it come version, tenant and times, and the program makes an entry of each.",
  "mset 100":
    "a commit of 64 sets takes the database 1.2 ms, one upsert of 64 rows 0.5: key locks, resolving each key against its family, and the partition.",
  "filtered and sorted page of 20 at 100,000 tenants":
    "inside the database the page takes 0.17 ms, of which making 21 records into JSON is 0.05; planned anew for each call it would be 0.73. The round trip of a lone get is another 0.1. The habit has no HTTP hop here.",
  "page of 20 at depth 90,000 of 100,000": "as for the filtered page.",
  "counts by status and plan, and MRR, at 100,000 tenants":
    "inside the database it takes 0.07 ms; a round trip takes more than that. The habit has no HTTP hop here.",
  "delete a prefix of 10,000":
    "of 11,111 rows in a plain table 4.2 ms, in a partition with its three indexes 8.1, in a commit 14.8: each key comes back with its expiry, for the report by entity.",
  "HTTP GET /v1/tenants/:id with JWT and scope check, Deno":
    "the callers share their reads, 0.09 statements an answer: the HTTP process takes most of it, 155 µs of processor where the constant answer takes 41.",
  "HTTP POST …/usage/:metric/increment over 100 tenants":
    "the callers share their reads and writes, 0.21 statements an answer: the HTTP process takes 212 µs of processor where the constant answer takes 41, an increment in a batch 27 µs of the database's.",
  "HTTP GET /v1/tenants?limit=20&sort=-mrr with its total":
    "page and total take the database 0.25 ms an answer, the HTTP process 0.54 ms of processor where the constant answer takes 0.04.",
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
  const verdict = row.target === null ? "" : `${asked(row)} ${reached(row) ? "reached" : "NOT REACHED"}`;
  return `${row.operation} [${row.callers}]  ${row.store}  |  ${row.against} ${row.other}  |  ratio ${format(row.ratio)} ${verdict}`;
}

export function markdown(rows: readonly Row[], machine: readonly string[], both: readonly Compared[]): string {
  const missed = [...new Set(rows.filter((row) => !reached(row)).map((row) => row.operation))]
    .flatMap((operation) => WHY[operation] ? [`- ${operation}: ${WHY[operation]}`] : []);
  const notes = [...new Set(rows.flatMap((row) => row.note ? [`- ${row.operation}: ${row.note}`] : []))];
  const sections = [
    `# Performance

Written by \`npm run bench\`; do not edit. Contenders run interleaved, round by round, on one server and one data set;
the ratio is the median of the rounds' ratios of throughput. Absolute numbers vary from machine to machine, ratios hold.

${machine.map((fact) => `- ${fact}`).join("\n")}

"Habit" is today's \`kv_store\` habit done with plain SQL over a pool (tests/bench/habit.ts): without the HTTP hop it has in real life.`,
    table(
      ["operation", "callers", "Innkeep", "against", "ratio", "asked", ""],
      rows.map((row) => {
        const verdict = row.target === null ? "" : reached(row) ? "reached" : "**not reached**";
        return [row.operation, row.callers, row.store, `${row.against} ${row.other}`, format(row.ratio), asked(row), verdict];
      }),
    ),
    missed.length > 0 ? `Where a ratio is not reached\n\n${missed.join("\n")}` : "",
    notes.length > 0 ? `Notes\n\n${notes.join("\n")}` : "",
    roundTripsSection(),
    beforeAndAfter(both),
  ];
  return `${sections.filter(Boolean).join("\n\n")}\n`;
}

function beforeAndAfter(rows: readonly Compared[]): string {
  if (rows.length === 0) return "";
  return `## Before and after

The store until commit 079b9fc (two tables with field columns) and the one of the commit that wrote this section (a partition a
family), by each one's own benchmark in one run on one machine, part by part: \`npm run bench -- --before=<checkout of 079b9fc>\`.

${
    table(
      ["operation", "callers", "against", "before", "after", "ratio before", "ratio after"],
      rows.map((
        { operation, callers, against, before, after, ratioBefore, ratioAfter },
      ) => [operation, callers, against, before, after, format(ratioBefore), format(ratioAfter)]),
    )
  }`;
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function asked({ target, atMost }: Row): string {
  return target === null ? "–" : `${atMost ? "≤" : "≥"} ${target}`;
}

function format(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toPrecision(3);
}
