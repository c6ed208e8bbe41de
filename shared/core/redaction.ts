import type { AnyEntity } from "../kv/define.ts";
import type { JsonObject, JsonValue } from "../kernel/json.ts";
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

const MAX_MEMBER_CHARS = 8_192;
const MAX_SIDE_CHARS = 65_536;

/** Long values named by their size, so that what is written beside a record always fits the store, whatever the record holds. */
export function bounded(side: JsonObject): JsonObject {
  const short = shortened(side, MAX_MEMBER_CHARS, 3);
  return JSON.stringify(short).length <= MAX_SIDE_CHARS ? short : shortened(side, 256, 2);
}

/** Members over the limit are replaced, within an object where that is enough, else the object as a whole. */
function shortened(object: JsonObject, maxChars: number, depth: number): JsonObject {
  return Object.fromEntries(
    Object.entries(object).map(([name, value]): [string, JsonValue] => {
      const chars = value === undefined ? 0 : JSON.stringify(value).length;
      if (chars <= maxChars) return [name, value];
      const inner = depth > 1 && isMembers(value) ? shortened(value, maxChars, depth - 1) : null;
      return [name, inner && JSON.stringify(inner).length <= MAX_SIDE_CHARS / 2 ? inner : `[omitted: ${chars} characters]`];
    }),
  );
}

function isMembers(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
