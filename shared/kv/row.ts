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
