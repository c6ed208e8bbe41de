import type { AnyEntity } from "../kv/define.ts";
import { boundedJson } from "../kernel/bounded-json.ts";
import type { JsonObject } from "../kernel/json.ts";
import { changedFields } from "./merge-patch.ts";
import type { FieldChanges } from "./merge-patch.ts";

export const REDACTED = "[redacted]";

type Members = Readonly<Record<string, unknown>>;

/** The record as it may stand in an audit entry, a log, an export or the kv view: declared secrets replaced. */
export function redact(entity: AnyEntity, record: Members): Record<string, unknown> {
  const secrets: readonly string[] = entity.secrets ?? [];
  const entries = Object.entries(record).map(([name, value]) => [name, isSecret(secrets, name, value) ? REDACTED : value] as const);
  return Object.fromEntries(entries);
}

/** An absent or cleared secret hides nothing, and that it is absent may be seen. */
function isSecret(secrets: readonly string[], name: string, value: unknown): boolean {
  return value !== undefined && value !== null && secrets.includes(name);
}

/**
 * What an audit entry says of a change: the fields that differ, redacted. `before` null is a creation,
 * `after` null a removal. A changed secret shows as changed, on both sides redacted. Undefined: no change.
 */
export function diff(entity: AnyEntity, before: Members | null, after: Members | null): FieldChanges | undefined {
  const changes = changedFields(before ?? {}, after ?? {});
  if (Object.keys(changes.before).length === 0 && Object.keys(changes.after).length === 0) return undefined;
  return { before: bounded(redact(entity, changes.before) as JsonObject), after: bounded(redact(entity, changes.after) as JsonObject) };
}

/**
 * Both sides together with what else an entry says fit the store's 256 KiB and 64 levels, where a side lies two levels below the
 * entry; `levels` counts the side itself.
 */
const SIDE_BOUNDS = { bytes: 60 * 1_024, levels: 56, memberBytes: 8_192 } as const;

/** Long and deep values named by their size, so that what is written beside a record always fits the store, whatever the record holds. */
export function bounded(side: JsonObject): JsonObject {
  return boundedJson(side, SIDE_BOUNDS);
}
