import canonicalize from "canonicalize";

type Members = Readonly<Record<string, unknown>>;

/**
 * JSON Merge Patch (RFC 7396): null removes a member, objects merge, anything else replaces. Pure. A member
 * called `__proto__` is data like any other: results are built by definition, never by assignment.
 */
export function mergePatch(target: Members, patch: Members): Record<string, unknown>;
export function mergePatch(target: unknown, patch: unknown): unknown;
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const members = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, change] of Object.entries(patch)) {
    if (change === null) members.delete(name);
    else if (change !== undefined) members.set(name, mergePatch(members.get(name), change));
  }
  return Object.fromEntries(members);
}

export interface FieldChanges {
  readonly before: Record<string, unknown>;
  readonly after: Record<string, unknown>;
}

/** They change with every write and say nothing about it. */
const BOOKKEEPING: ReadonlySet<string> = new Set(["version", "updatedAt", "updated"]);

/** The top-level members that differ as JSON, as they were and as they are; an absent one is left out. */
export function changedFields(before: Members, after: Members): FieldChanges {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((name) => !BOOKKEEPING.has(name) && !sameJson(member(before, name), member(after, name)));
  return { before: picked(before, names), after: picked(after, names) };
}

function picked(record: Members, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, member(record, name)] as const).filter(([, value]) => value !== undefined));
}

/** Equal in the canonical form of RFC 8785: the order of members does not count. */
function sameJson(a: unknown, b: unknown): boolean {
  return a === b || canonicalize(a) === canonicalize(b);
}

/** Own members only: `constructor` and the like are not fields of a record. */
function member(record: Members, name: string): unknown {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

function isObject(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
