import { inputsOf } from "../../core/fields.ts";
import { changedFields } from "../../core/merge-patch.ts";
import type { FieldError } from "../../kernel/errors.ts";
import type { Section, SectionName } from "./document.ts";

type Members = Readonly<Record<string, unknown>>;

/** An item as it is stored. */
export interface PresentItem {
  readonly id: string;
  /** The id of its record, and the version that was read. */
  readonly recordId: string;
  readonly version: string;
  /** The fields that a document can have. */
  readonly value: Members;
}

/** One change that makes the stored items what the document says. */
export interface Change {
  readonly section: Section;
  readonly name: SectionName;
  readonly id: string;
  readonly action: "create" | "update" | "delete";
  /** The place of the item in the document, or of its section. */
  readonly path: string;
  /** The fields that differ, before and after. */
  readonly before: Members;
  readonly after: Members;
  /** The new item, or the merge patch of the present one. */
  readonly body: Members;
  readonly present: PresentItem | null;
}

/** The changes of one section, deletions last, and what forbids them. */
export function changesOf(
  section: Section,
  present: readonly PresentItem[],
  wanted: readonly Members[],
  prune: boolean,
): { readonly changes: Change[]; readonly faults: FieldError[] } {
  const { name, id, completed = (item: Members) => item } = section;
  const byId = new Map(present.map((item) => [item.id, item]));
  const named = wanted.map((item) => id === null ? name : String(item[id]));
  const faults: FieldError[] = [];
  const changes = wanted.flatMap((item, i): Change[] => {
    const itemId = named[i] ?? "";
    const path = id === null ? `/${name}` : `/${name}/${i}`;
    if (named.indexOf(itemId) < i) {
      faults.push({ path: `${path}/${id}`, message: "must differ from those of the other items", code: "not_unique" });
      return [];
    }
    const found = byId.get(itemId) ?? null;
    const after = withoutNulls(id === null ? { ...found?.value, ...item } : completed(item)) as Members;
    const differing = changedFields(found?.value ?? {}, after);
    const place = { section, name, id: itemId, path, before: found ? differing.before : {}, after: differing.after, present: found };
    if (!found) return [{ ...place, action: "create", body: after }];
    const fields = [...new Set([...Object.keys(differing.before), ...Object.keys(differing.after)])];
    faults.push(
      ...fields.filter((field) => isFixed(section, field)).map((field) => (
        { path: `${path}/${field}`, message: "cannot be changed after the creation", code: "immutable" }
      )),
    );
    return fields.length === 0 ? [] : [{ ...place, action: "update", body: patchOf(found.value, after) }];
  });
  const deleted = !prune || id === null ? [] : present.filter((item) => !named.includes(item.id)).map((item): Change => (
    { section, name, id: item.id, action: "delete", path: `/${name}`, before: item.value, after: {}, body: {}, present: item }
  ));
  return { changes: [...changes, ...deleted], faults };
}

/**
 * The order in which no change needs a later one: what is named before what names it, and the other way round for deletions. Of the
 * administrators, new super_admins come first, because the last one cannot be demoted.
 */
export function ordered(changes: readonly Change[]): Change[] {
  const kept = changes.filter(({ action }) => action !== "delete");
  const isSuper = ({ after }: Change) => after["role"] === "super_admin" ? 0 : 1;
  return [
    ...kept.filter(({ name }) => name !== "admins"),
    ...kept.filter(({ name }) => name === "admins").sort((a, b) => isSuper(a) - isSuper(b)),
    ...changes.filter(({ action }) => action === "delete").reverse(),
  ];
}

/** The JSON merge patch (RFC 7396) that makes `after` of `before`. */
export function patchOf(before: Members, after: Members): Record<string, unknown> {
  const differing = changedFields(before, after);
  const removed = Object.keys(differing.before).filter((name) => !Object.hasOwn(after, name)).map((name) => [name, null]);
  const set = Object.entries(differing.after).map(([name, value]) => {
    const old = before[name];
    return [name, isMembers(old) && isMembers(value) ? patchOf(old, value) : value];
  });
  return Object.fromEntries([...removed, ...set]) as Record<string, unknown>;
}

/** Without the members of objects that are null, which no merge patch can store. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isMembers(value)) return value;
  const members = Object.entries(value).filter(([, member]) => member !== null && member !== undefined);
  return Object.fromEntries(members.map(([name, member]) => [name, withoutNulls(member)]));
}

/** Whether only a creation sets the field. */
function isFixed({ entity, id }: Section, field: string): boolean {
  return field !== id && !Object.hasOwn(inputsOf(entity).update.shape, field);
}

function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
