import { type AnyEntity, secretsOf } from "../kv/define.ts";
import { boundedJson } from "../kernel/bounded-json.ts";
import type { JsonObject } from "../kernel/json.ts";
import { changedFields } from "./merge-patch.ts";
import type { FieldChanges } from "./merge-patch.ts";

export const REDACTED = "[redacted]";

type Members = Readonly<Record<string, unknown>>;

/** The record with its declared secrets replaced by `[redacted]`. Every audit entry and event shows records in this form. */
export function redact(entity: AnyEntity, record: Members): Record<string, unknown> {
  const secrets = secretsOf(entity);
  const entries = Object.entries(record).map(([name, value]) => [name, isSecret(secrets, name, value) ? REDACTED : value] as const);
  return Object.fromEntries(entries);
}

/** An absent or null secret is shown as it is: that it is not set is no secret. */
function isSecret(secrets: readonly string[], name: string, value: unknown): boolean {
  return value !== undefined && value !== null && secrets.includes(name);
}

/**
 * The fields that differ, redacted, for an audit entry. `before` is null for a creation, `after` for a deletion. A changed
 * secret is `[redacted]` on both sides. Undefined if nothing differs.
 */
export function diff(entity: AnyEntity, before: Members | null, after: Members | null): FieldChanges | undefined {
  const changes = changedFields(before ?? {}, after ?? {});
  if (Object.keys(changes.before).length === 0 && Object.keys(changes.after).length === 0) return undefined;
  return { before: bounded(redact(entity, changes.before) as JsonObject), after: bounded(redact(entity, changes.after) as JsonObject) };
}

/**
 * Both sides and the rest of an entry fit the store's limits of 256 KiB and 64 levels. A side is two levels below the entry, and
 * `levels` includes the side itself.
 */
const SIDE_BOUNDS = { bytes: 60 * 1_024, levels: 56, memberBytes: 8_192 } as const;

/** Replaces long and deep values by their size, so that the audit entry and event of any record fit the store. */
export function bounded(side: JsonObject): JsonObject {
  return boundedJson(side, SIDE_BOUNDS);
}

/** With the bounded members, this fits the store's limit of 256 KiB. */
const WHOLE_BOUNDS = { bytes: 180 * 1_024, levels: 56, memberBytes: 180 * 1_024 } as const;

/** The data of an event. Only the members of `whole` can be long. */
export function eventData(data: JsonObject, whole: JsonObject): JsonObject {
  return { ...bounded(data), ...boundedJson(whole, WHOLE_BOUNDS) };
}
