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
  const notes = rows.flatMap((row) => row.note ? [`- ${row.operation}: ${row.note}`] : []);
  return `# Performance

Written by \`npm run bench\`; do not edit. Contenders run interleaved, round by round, on one server and one data set;
the ratio is the median of the rounds' ratios of throughput. Absolute numbers vary from machine to machine, ratios hold.

${machine.map((line) => `- ${line}`).join("\n")}

"Habit" is today's \`kv_store\` habit done with plain SQL over a pool (tests/bench/habit.ts): without the HTTP hop it has in real life.

| operation | callers | Innkeep | against | ratio | asked | |
|---|---|---|---|---|---|---|
${lines.join("\n")}

${notes.length > 0 ? `Notes\n\n${notes.join("\n")}\n` : ""}`;
}

function format(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toPrecision(3);
}
