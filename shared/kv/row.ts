import type { JsonValue } from "../kernel/json.ts";
import { isoTime } from "../kernel/clock.ts";
import type { Entry } from "./store.ts";

/** An entry as the SQL functions return it; times in milliseconds. */
export type WireEntry = readonly [
  key: string,
  value: JsonValue,
  version: string,
  owner: string | null,
  createdAt: number,
  updatedAt: number,
  expiresAt: number | null,
];

export function toEntry([key, value, version, tenantId, createdAt, updatedAt, expiresAt]: WireEntry): Entry {
  return {
    key,
    value,
    version,
    createdAt: isoTime(createdAt),
    updatedAt: isoTime(updatedAt),
    expiresAt: expiresAt === null ? null : isoTime(expiresAt),
    tenantId,
  };
}

/** What `kv_mget` returns, entries, or `kv_tenant_mget`, pairs, in the order of the keys; null where there is none. */
export function inOrder(keys: readonly string[], found: unknown, bound: boolean): (Entry | null)[] {
  const entries = new Map<string | number, Entry>();
  if (bound) {
    for (const [position, entry] of (found ?? []) as readonly (readonly [number, WireEntry])[]) entries.set(position - 1, toEntry(entry));
  } else for (const entry of (found ?? []) as readonly WireEntry[]) entries.set(entry[0], toEntry(entry));
  return keys.map((key, i) => entries.get(bound ? i : key) ?? null);
}
