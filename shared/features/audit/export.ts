import { csvLines } from "../../core/csv.ts";
import { auditEntry } from "../../core/audit-entry.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { CSV_COLUMNS, csvOf } from "./csv.ts";
import type { ExportedEntry } from "./exported.ts";
import type { OrderBy, Query, Scope } from "../../kv/store.ts";

const PAGE_ENTRIES = 500;

/** One chain in its order; several chains by time. */
export function exportOrder(scope: Scope): OrderBy[] {
  return [{ field: scope === "any" ? "timestamp" : "seq", direction: "asc" }];
}

/** One page of an export. The entries are not parsed, because a schema could change what is exported. */
export async function exportPage(
  { store, platform: { personal } }: UnitOfWork,
  query: Pick<Query, "scope" | "where" | "orderBy">,
  cursor: string | null,
  limit = PAGE_ENTRIES,
): Promise<{ readonly entries: ExportedEntry[]; readonly cursor: string | null }> {
  const page = await store.query({ ...query, entity: auditEntry, limit, ...(cursor === null ? {} : { cursor }) });
  const stored = page.entries.map(({ value }) => value as JsonObject);
  const entries = (await personal.open(stored)).map(({ opened }, i) => (
    { ...stored[i], ...(Object.keys(opened).length === 0 ? {} : { opened }) } as unknown as ExportedEntry
  ));
  return { entries, cursor: page.cursor };
}

/** The media types of an export. */
export const EXPORT_TYPES = ["application/x-ndjson", "text/csv"] as const;

/** The content of an export, a page at a time: one stored entry a line, or CSV. */
export async function* exportContent(
  work: UnitOfWork,
  query: Pick<Query, "scope" | "where" | "orderBy">,
  mediaType: string,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const encoder = new TextEncoder();
  let isFirst = true;
  let cursor: string | null = null;
  do {
    const page = await exportPage(work, query, cursor);
    const text = await exportText(page.entries, mediaType, isFirst);
    if (text !== "") yield encoder.encode(text);
    isFirst = false;
    cursor = page.cursor;
  } while (cursor !== null);
}

/** The part of the file that the entries of one page are. `isFirst`: with the header of CSV. */
export async function exportText(entries: readonly ExportedEntry[], mediaType: string, isFirst: boolean): Promise<string> {
  if (mediaType !== "text/csv") return entries.map((entry) => `${JSON.stringify(entry)}\n`).join("");
  return `${isFirst ? await csvLines([CSV_COLUMNS]) : ""}${entries.length > 0 ? await csvOf(entries) : ""}`;
}
