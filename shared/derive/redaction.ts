import type { AnyEntity } from "../kv/define.ts";
import { changedFields } from "../policies/merge-patch.ts";
import type { FieldChanges } from "../policies/merge-patch.ts";

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
  return { before: redact(entity, changes.before), after: redact(entity, changes.after) };
}
