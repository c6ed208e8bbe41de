import type { Collection } from "../../core/collection.ts";
import { type AnyEntity, keyParams, personFieldsOf } from "../../kv/define.ts";
import type { Condition, Entry, Mutation } from "../../kv/store.ts";

/** What stands in the place of a value that the record cannot be without. */
export const ANONYMISED = "anonymised";

type Members = Readonly<Record<string, unknown>>;

/** The records that are not anonymised yet. The others have the text in the field that marks them. */
export function notAnonymised(entity: AnyEntity): Condition[] {
  const mark = markOf(entity);
  return mark === undefined ? [] : [{ field: mark, notIn: [ANONYMISED] }];
}

/**
 * The record without personal data and the ids of persons. Null if the entity cannot be without them: its keys name the person, it has no
 * field that names one, or it does not accept the text.
 */
export function anonymised(entity: AnyEntity, record: Members): Members | null {
  const mark = markOf(entity);
  const { userIds, emails } = personFieldsOf(entity);
  const fields: readonly string[] = [...(entity.personal ?? []), ...userIds, ...emails];
  if (mark === undefined || entity.appendOnly || keyParams(entity).some((name) => fields.includes(name))) return null;
  let changed: Members = record;
  for (const field of fields.filter((name) => name !== mark && record[name] !== undefined)) {
    const rest = without(changed, field);
    changed = isValid(entity, rest) ? rest : { ...rest, [field]: ANONYMISED };
  }
  changed = { ...changed, [mark]: ANONYMISED };
  return isValid(entity, changed) ? changed : null;
}

/** The write that anonymises the row. Null for one that does not match its declaration. */
export function anonymising(records: Collection<AnyEntity>, entry: Entry): Mutation | null {
  const found = records.readIfValid(entry);
  const record = found && anonymised(records.entity, without(found, "version"));
  return record && { ...records.set(record), ...(entry.expiresAt === null ? {} : { expiresAt: entry.expiresAt }) };
}

/** The field that names a person: if one is required, that one. */
function markOf(entity: AnyEntity): string | undefined {
  const { userIds, emails } = personFieldsOf(entity);
  const own = [...userIds, ...emails];
  return own.find((field) => !isValid(entity, without(entity.example as Members, field))) ?? own[0];
}

function isValid({ schema }: AnyEntity, record: Members): boolean {
  return schema.safeParse(record).success;
}

function without(record: Members, field: string): Members {
  const { [field]: _, ...rest } = record;
  return rest;
}
