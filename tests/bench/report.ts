import type { Measured } from "./measure.ts";

/** One line of the table: what was measured, against what, and what store.md §5 asks for. */
export interface Row {
  readonly operation: string;
  readonly callers: number;
  readonly store: string;
  readonly other: string;
  readonly ratio: number;
  /** The ratio to reach; null where the line only informs. */
  readonly target: number | null;
  /** For "at most" targets such as flatness. */
  readonly atMost?: boolean;
  readonly note?: string;
}

/** What holds an operation back, for the page, when its line misses its ratio. */
const WHY: Readonly<Record<string, string>> = {
  "get, service level":
    "client and database share two cores here, and one JavaScript thread makes, awaits and parses every answer; the batches are what the database sees.",
  "set, durable":
    "one flush is in flight, and with few callers it is as long as a round trip, the commit function and a disk flush together; from 64 callers on batches outweigh that.",
  "increment of one hot key":
    "a flush takes 0.6 ms (round trip 0.15, commit function 0.25, disk 0.2) whatever it carries, so callers times flushes is the limit on this machine.",
  "increments over 1,000 keys":
    "each key is a row of its own: locked, computed, versioned and written, 30 µs each, where the habit only writes what it read.",
  "mget 100":
    "both read the same rows over the same wire and parse the same JSON, two thirds of the time; ours also answers order, absence, version and expiry.",
  "mset 100": "a row costs what a plain upsert costs, and each also gets its version, owner and check.",
  "filtered and sorted page of 20 at 100,000 tenants":
    "the page takes about half a millisecond, 0.2 of it the round trip; the habit's own time varies with how fast the machine parses JSON.",
  "page of 20 at depth 90,000 of 100,000": "as for the filtered page: the round trip is a third of it.",
  "counts by status and plan, and MRR, at 100,000 tenants":
    "reading the rollup takes 0.15 ms, the round trip as long again; the habit would have to take a second for this ratio.",
  "delete a prefix of 10,000":
    "the rows are deleted in one statement, but each passes the guard of the audit log and the rollup's condition.",
  "cold start of `api` to its first answer, over an empty Deno program, in ms":
    "zod is 15 ms of it, the schemas and routes built with it 25.",
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

export function markdown(rows: readonly Row[], machine: readonly string[]): string {
  const lines = rows.map((row) => {
    const target = row.target === null ? "–" : `${row.atMost ? "≤" : "≥"} ${row.target}`;
    const verdict = row.target === null ? "" : reached(row) ? "reached" : "**not reached**";
    return `| ${row.operation} | ${row.callers} | ${row.store} | ${row.other} | ${format(row.ratio)} | ${target} | ${verdict} |`;
  });
  const missed = [...new Set(rows.filter((row) => !reached(row)).map((row) => row.operation))]
    .flatMap((operation) => WHY[operation] ? [`- ${operation}: ${WHY[operation]}`] : []);
  const notes = rows.flatMap((row) => row.note ? [`- ${row.operation}: ${row.note}`] : []);
  return `# Performance

Written by \`npm run bench\`; do not edit. Contenders run interleaved, round by round, on one server and one data set;
the ratio is the median of the rounds' ratios of throughput. Absolute numbers vary from machine to machine, ratios hold.

${machine.map((line) => `- ${line}`).join("\n")}

"Habit" is today's \`kv_store\` habit done with plain SQL over a pool (tests/bench/habit.ts): without the HTTP hop it has in real life.

| operation | callers | Innkeep | against | ratio | asked | |
|---|---|---|---|---|---|---|
${lines.join("\n")}

${missed.length > 0 ? `Where a ratio is not reached\n\n${missed.join("\n")}\n\n` : ""}${
    notes.length > 0 ? `Notes\n\n${notes.join("\n")}\n` : ""
  }`;
}

function format(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toPrecision(3);
}
