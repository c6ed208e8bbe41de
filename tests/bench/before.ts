import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Row } from "./report.ts";

/** A line of the output of an earlier commit's benchmark. */
export interface EarlierRow {
  readonly operation: string;
  readonly callers: number;
  readonly store: string;
  /** The contender it is compared with, and its figures. */
  readonly other: string;
  readonly ratio: number;
}

/** A line that both commits measured in one run. */
export interface Compared {
  readonly operation: string;
  readonly callers: number;
  readonly against: string;
  readonly before: string;
  readonly after: string;
  readonly ratioBefore: number;
  readonly ratioAfter: number;
}

const LINE = /^(.*) \[(\d+)\] {2}(.*?) {2}\| {2}(.*?) +\| {2}ratio ([\d.,]+(?:e\+\d+)?)/;

/** Runs one part of the benchmark of another checkout. Its dependencies must be installed. */
export async function earlierRows(checkout: string, part: string): Promise<EarlierRow[]> {
  const child = spawn("deno", ["run", "-A", "tests/bench/run.ts", part], { cwd: checkout, stdio: ["ignore", "pipe", "inherit"] });
  const rows: EarlierRow[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const [, operation, callers, store, other, ratio] = LINE.exec(line) ?? [];
    if (!operation || !store || !other) continue;
    rows.push({ operation, callers: Number(callers), store, other, ratio: Number(ratio?.replaceAll(",", "")) });
    console.log(`   before: ${line}`);
  }
  return rows;
}

/** Pairs lines with the same operation, number of callers and contender. Some lines have no contender. */
export function compared(before: readonly EarlierRow[], after: readonly Row[]): Compared[] {
  return after.flatMap((row) => {
    const { operation, callers, against } = row;
    const earlier = before.find((line) =>
      line.operation === operation && line.callers === callers && (line.other.startsWith(against) || /^\d/.test(line.other))
    );
    return earlier
      ? [{ operation, callers, against, before: earlier.store, after: row.store, ratioBefore: earlier.ratio, ratioAfter: row.ratio }]
      : [];
  });
}
