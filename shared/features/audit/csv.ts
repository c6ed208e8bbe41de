import { csvLines } from "../../core/csv.ts";
import type { ExportedEntry } from "./exported.ts";

type Cells = readonly (readonly [column: string, cell: (entry: ExportedEntry) => unknown])[];

/** `entry` is the stored entry as JSON, from which the chain is verified. The other columns show the same for a reader. */
const COLUMNS: Cells = [
  ["timestamp", ({ timestamp }) => timestamp],
  ["tenantId", ({ tenantId }) => tenantId],
  ["seq", ({ seq }) => seq],
  ["action", ({ action }) => action],
  ["resource", ({ resource }) => resource],
  ["resourceId", ({ resourceId }) => resourceId],
  ["actorType", ({ actor }) => actor.type],
  ["actorId", ({ actor }) => actor.id],
  ["actorEmail", ({ actor, opened }) => opened?.["/actor/email"] ?? actor.email],
  ["ipAddress", ({ ipAddress, opened }) => opened?.["/ipAddress"] ?? ipAddress],
  ["userAgent", ({ userAgent, opened }) => opened?.["/userAgent"] ?? userAgent],
  ["requestId", ({ requestId }) => requestId],
  ["prevHash", ({ prevHash }) => prevHash],
  ["hash", ({ hash }) => hash],
  ["entry", ({ opened: _, ...stored }) => JSON.stringify(stored)],
  ["opened", ({ opened }) => opened === undefined ? undefined : JSON.stringify(opened)],
];

export const CSV_COLUMNS = COLUMNS.map(([column]) => column);

export async function csvOf(entries: readonly ExportedEntry[]): Promise<string> {
  return await csvLines(entries.map(cellsOf));
}

/** Whether the cells show what their entry says. Personal data is not compared: the entry has it encrypted. */
export function showsEntry(row: Readonly<Record<string, string>>, entry: ExportedEntry): boolean {
  const personal = new Set(["actorEmail", "ipAddress", "userAgent", "opened", "entry"]);
  return COLUMNS.every(([column, cell]) => personal.has(column) || unescaped(row[column]) === oneLineBreak(String(cell(entry) ?? "")));
}

function cellsOf(entry: ExportedEntry): (string | null)[] {
  return COLUMNS.map(([, cell]) => {
    const value = cell(entry);
    return value === undefined || value === null ? null : String(value);
  });
}

/** The text of a cell that was protected from being a formula. */
function unescaped(cell = ""): string {
  return /^'[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20]/.test(cell) ? cell.slice(1) : cell;
}

/** A file is read by lines, whose ends may be written in several ways. */
function oneLineBreak(text: string): string {
  return text.replaceAll(/\r\n?/g, "\n");
}
