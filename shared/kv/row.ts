import type { JsonValue } from "../kernel/json.ts";
import { isoTime } from "../kernel/clock.ts";
import type { Entry } from "./store.ts";

/** An entry as the SQL functions return it. Times are milliseconds since the Unix epoch. */
export interface WireEntry {
  readonly key: string;
  readonly value: JsonValue;
  readonly version: string;
  readonly owner: string | null;
  readonly created_at: number;
  readonly updated_at: number;
  readonly expires_at: number | null;
}

/** An entry of the store, with times in ISO form. */
export function toEntry({ key, value, version, owner, created_at, updated_at, expires_at }: WireEntry): Entry {
  return {
    key,
    value,
    version,
    createdAt: isoTime(created_at),
    updatedAt: isoTime(updated_at),
    expiresAt: expires_at === null ? null : isoTime(expires_at),
    tenantId: owner,
  };
}

/**
 * Entries in the order of the keys; null if missing. Rows of `kv_tenant_mget` have positions from 1, those of `kv_mget` only keys.
 * A key that occurs again, for another caller, has an entry of its own.
 */
export function inOrder(keys: readonly string[], found: unknown): (Entry | null)[] {
  const rows = (found ?? []) as readonly (WireEntry & { readonly position?: number })[];
  const entries = new Map(rows.map((row) => [row.position ?? row.key, toEntry(row)]));
  const given = new Set<Entry>();
  return keys.map((key, i) => {
    const entry = entries.get(i + 1) ?? entries.get(key) ?? null;
    if (entry && given.has(entry)) return { ...entry, value: copied(entry.value) };
    if (entry) given.add(entry);
    return entry;
  });
}

/** Faster than `structuredClone` for small values. */
function copied(value: JsonValue): JsonValue {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(copied);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, copied(member)]));
}
