import canonicalize from "canonicalize";

type Members = Readonly<Record<string, unknown>>;

/**
 * JSON Merge Patch (RFC 7396): null removes a member, objects merge, anything else replaces. Pure. A member named
 * `__proto__` is plain data, because Object.fromEntries defines members and does not assign them.
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

/** Fields that change with every write. A diff omits them. */
const BOOKKEEPING: ReadonlySet<string> = new Set(["version", "updatedAt", "updated"]);

/** The top-level members that differ as JSON, before and after. A side without the member omits it. */
export function changedFields(before: Members, after: Members): FieldChanges {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((name) => !BOOKKEEPING.has(name) && !sameJson(member(before, name), member(after, name)));
  return { before: picked(before, names), after: picked(after, names) };
}

function picked(record: Members, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, member(record, name)] as const).filter(([, value]) => value !== undefined));
}

/** Whether two values are equal in the canonical form of RFC 8785, which ignores the order of members. */
function sameJson(a: unknown, b: unknown): boolean {
  return a === b || canonicalize(a) === canonicalize(b);
}

/** An own member. `constructor` and other inherited names are not fields of a record. */
function member(record: Members, name: string): unknown {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

function isObject(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
