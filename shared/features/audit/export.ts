import { type AuditEntry, auditEntry } from "../../core/audit-entry.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject, JsonValue } from "../../kernel/json.ts";
import type { OrderBy, Query, Scope } from "../../kv/store.ts";

const PAGE_ENTRIES = 500;

/** A stored entry. `opened` has its personal data by JSON Pointer, and is not part of what its hash covers. */
export type ExportedEntry = AuditEntry & { readonly opened?: Readonly<Record<string, JsonValue>> };

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
