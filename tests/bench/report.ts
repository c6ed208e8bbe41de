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
    "the batches help the database, but one JavaScript thread makes, awaits and parses every answer, on two cores that it shares with the database. Which of the two binds was not measured apart.",
  "set, durable":
    "one flush is in flight at a time and commits to disk; with 16 callers a batch is small beside that fixed cost, with 64 it is not.",
  "increment of one hot key":
    "one flush is in flight at a time, and its length hardly depends on what it carries (compare the medians of 16 and 64 callers), so callers divided by that length is the limit here.",
  "increments over 1,000 keys":
    "each key is a row of its own, locked, computed, versioned and written in one function call, where the habit writes what it read; the cost a key was not measured apart.",
  "mget 100":
    "both read the same rows over the same wire and parse the same JSON; ours also carries key, version, times and owner of each.",
  "mset 100": "each row also gets its version, owner and check.",
  "filtered and sorted page of 20 at 100,000 tenants":
    "a lone get, which is little more than a round trip, already takes a good part of the page's time; the habit has no HTTP hop here.",
  "page of 20 at depth 90,000 of 100,000": "as for the filtered page: a lone get already takes a good part of its time.",
  "counts by status and plan, and MRR, at 100,000 tenants":
    "a lone get, which is little more than a round trip, takes more than half of its time; the habit has no HTTP hop here.",
  "delete a prefix of 10,000":
    "it is one statement; what its triggers' conditions and row-level security add a row was not measured apart.",
  "cold start of `api` to its first answer, over an empty Deno program, in ms":
    "importing zod and building the schemas and routes with it is most of it.",
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
