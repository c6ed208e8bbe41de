import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Row } from "./report.ts";

/** A line as an earlier commit's benchmark printed it. */
export interface EarlierRow {
  readonly operation: string;
  readonly callers: number;
  readonly store: string;
  readonly ratio: number;
}

/** A line measured by both in one run. */
export interface Compared {
  readonly operation: string;
  readonly callers: number;
  readonly against: string;
  readonly before: string;
  readonly after: string;
  readonly ratioBefore: number;
  readonly ratioAfter: number;
}

const LINE = /^(.*) \[(\d+)\] {2}(.*?) {2}\| .* ratio ([\d.,]+)/;

/** Runs one part of the benchmark of another checkout, whose dependencies are installed. */
export async function earlierRows(checkout: string, part: string): Promise<EarlierRow[]> {
  const child = spawn("deno", ["run", "-A", "tests/bench/run.ts", part], { cwd: checkout, stdio: ["ignore", "pipe", "inherit"] });
  const rows: EarlierRow[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const [, operation, callers, store, ratio] = LINE.exec(line) ?? [];
    if (!operation || !store) continue;
    rows.push({ operation, callers: Number(callers), store, ratio: Number(ratio?.replaceAll(",", "")) });
    console.log(`   before: ${line}`);
  }
  return rows;
}

/** Lines of one operation and number of callers come in the same order in both. */
export function compared(before: readonly EarlierRow[], after: readonly Row[]): Compared[] {
  const left = [...before];
  return after.flatMap((row) => {
    const at = left.findIndex(({ operation, callers }) => operation === row.operation && callers === row.callers);
    if (at < 0) return [];
    const [earlier] = left.splice(at, 1);
    const { operation, callers, against } = row;
    return earlier
      ? [{ operation, callers, against, before: earlier.store, after: row.store, ratioBefore: earlier.ratio, ratioAfter: row.ratio }]
      : [];
  });
}
