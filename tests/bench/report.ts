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

/** A line as it was before the redesign of the store (before.json). */
export interface EarlierRow {
  readonly operation: string;
  readonly callers: number;
  readonly against: string;
  readonly store: string;
  readonly ratio: number;
}

/** What holds an operation back, for the page, when its line misses its ratio. Measured facts only. */
const WHY: Readonly<Record<string, string>> = {
  // "set, durable": "…",
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

export function markdown(rows: readonly Row[], machine: readonly string[], earlier: readonly EarlierRow[]): string {
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
    beforeAndAfter(rows, earlier),
  ];
  return `${sections.filter(Boolean).join("\n\n")}\n`;
}

function beforeAndAfter(rows: readonly Row[], earlier: readonly EarlierRow[]): string {
  const both = rows.flatMap((row) => {
    const before = earlier.find((e) => e.operation === row.operation && e.callers === row.callers && e.against === row.against);
    return before ? [[row.operation, row.callers, row.against, before.store, row.store, format(before.ratio), format(row.ratio)]] : [];
  });
  if (both.length === 0) return "";
  return `## Before and after

The store until commit 079b9fc (two tables with field columns) and the present one (a partition a family), measured by the same
benchmark on the same machine, not interleaved: the ratios to the contender beside each compare better than the absolute numbers.

${table(["operation", "callers", "against", "before", "after", "ratio before", "ratio after"], both)}`;
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
