import { parse } from "csv-parse/sync";
import { CSV_COLUMNS } from "./csv.ts";

/** The rows of an exported CSV file after its header, with the line in which each begins. A row spans lines while a quote is open. */
export async function* csvRows(
  lines: AsyncIterable<string>,
): AsyncGenerator<{ line: number; row: Record<string, string> }, void, undefined> {
  let [line, record, at] = [0, "", 1];
  for await (const text of lines) {
    line++;
    if (record === "") at = line;
    record += record === "" ? text : `\n${text}`;
    if (record === "" || (record.split('"').length - 1) % 2 === 1) continue;
    if (at > 1) yield { line: at, row: rowOf(record) };
    record = "";
  }
  if (record !== "") yield { line: at, row: {} };
}

/** Empty for a text that is no row of an export. */
function rowOf(record: string): Record<string, string> {
  try {
    const [row = {}] = parse(record, { columns: [...CSV_COLUMNS] }) as Record<string, string>[];
    return row;
  } catch {
    // The entry of the row is then missing, which the reader reports with the line.
    return {};
  }
}
