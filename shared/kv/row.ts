import type { JsonValue } from "../kernel/json.ts";
import type { SqlRow } from "./driver.ts";
import type { Entry } from "./store.ts";

/** A row of the SQL functions (kv.entry) as an entry. Drivers answer times as Date or as text. */
export function toEntry(row: SqlRow): Entry {
  return {
    key: String(row["key"]),
    value: row["value"] as JsonValue,
    version: String(row["version"]),
    createdAt: instantOf(row["created_at"]) ?? "",
    updatedAt: instantOf(row["updated_at"]) ?? "",
    expiresAt: instantOf(row["expires_at"]),
    owner: typeof row["owner"] === "string" ? row["owner"] : null,
  };
}

function instantOf(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return (value instanceof Date ? value : new Date(String(value))).toISOString();
}
