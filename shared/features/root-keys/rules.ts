import type { RootKeys } from "../../core/root-keys.ts";
import type { RootKeyRecord } from "./entity.ts";

const KEY_ID = /^[0-9a-f]{16}$/;

export const ROOT_KEY_STATES = ["current", "previous", "unused", "lost"] as const;
export type RootKeyState = (typeof ROOT_KEY_STATES)[number];

/** The number of records under each root key, by the key's id. */
export type Counts = Readonly<Record<string, number>>;

/** `previous`: it does not encrypt any more, and records may still be under it. `lost`: the same, but the program starts without it. */
export function stateOf(record: RootKeyRecord, keys: RootKeys): RootKeyState {
  if (record.id === keys.current.id) return "current";
  if (record.unusedSince !== undefined) return "unused";
  return isNeeded(record) || isAvailable(record.id, keys) ? "previous" : "lost";
}

/** Whether the program does not start without the key. */
export function isNeeded({ unusedSince, lostSince }: RootKeyRecord): boolean {
  return unusedSince === undefined && lostSince === undefined;
}

/** Whether this process has the key. */
export function isAvailable(id: string, { current, previous }: RootKeys): boolean {
  return id === current.id || previous.some((key) => key.id === id);
}

/** The ids of the keys that are needed and that this process does not have. */
export function missingKeys(records: readonly RootKeyRecord[], keys: RootKeys): string[] {
  return records.filter((record) => isNeeded(record) && !isAvailable(record.id, keys)).map(({ id }) => id).sort();
}

/**
 * The record of a key under which records were found, and which has none. Without the key it counts as lost: its record was deleted so
 * that the program starts without it, and a record that is found again must not change that.
 */
export function found(id: string, keys: RootKeys, now: string): RootKeyRecord {
  return { id, createdAt: now, records: 0, ...(isAvailable(id, keys) ? {} : { lostSince: now }) };
}

/** The record after a complete count. Only a key that is not the current one can be unused. */
export function counted(record: RootKeyRecord, counts: Counts, currentId: string, now: string): RootKeyRecord {
  const { unusedSince, lostSince, ...rest } = record;
  const records = counts[record.id] ?? 0;
  const after = { ...rest, records, countedAt: now };
  if (records === 0 && record.id !== currentId) return { ...after, unusedSince: unusedSince ?? now };
  return lostSince === undefined || record.id === currentId ? after : { ...after, lostSince };
}

/** The ids of the keys under which one record's encrypted fields are. */
export function keyIdsOf(fields: readonly string[], record: Readonly<Record<string, unknown>>): string[] {
  const ids = fields.map((field) => {
    const value = record[field];
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)["keyId"] : undefined;
  });
  return [...new Set(ids.filter((id) => typeof id === "string" && KEY_ID.test(id)))] as string[];
}

/** The counts with one more record. */
export function plusRecord(counts: Counts, keyIds: readonly string[]): Counts {
  return { ...counts, ...Object.fromEntries(keyIds.map((id) => [id, (counts[id] ?? 0) + 1])) };
}
