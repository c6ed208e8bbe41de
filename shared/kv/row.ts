import type { JsonValue } from "../kernel/json.ts";
import type { SqlRow } from "./driver.ts";
import type { Entry } from "./store.ts";

/** A row of the SQL functions (kv.entry) as an entry. Drivers answer times as text. */
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

/** Postgres's text of a timestamptz, or JSON's, as a UTC instant with milliseconds. In UTC it is only cut: dates are half the cost of a long list. */
function instantOf(value: unknown): string | null {
  if (typeof value !== "string") return null;
  const utc = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:\+00(?::00)?|Z)$/.exec(value);
  return utc ? `${utc[1]}T${utc[2]}.${(utc[3] ?? "").slice(0, 3).padEnd(3, "0")}Z` : new Date(value).toISOString();
}
