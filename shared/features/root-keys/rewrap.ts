import { Collection, type Stored } from "../../core/collection.ts";
import type { Sealed } from "../../core/sealed.ts";
import type { AuditNote, Change } from "../../core/transaction.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { AnyEntity } from "../../kv/define.ts";
import { rootKey } from "./entity.ts";
import { keyIdsOf } from "./rules.ts";

/** The entities with encrypted fields, in the order of their names. */
export async function encryptedEntities({ platform }: UnitOfWork): Promise<AnyEntity[]> {
  const all = await platform.registry();
  return all.filter((entity) => encryptedFields(entity).length > 0).sort((a, b) => a.name < b.name ? -1 : 1);
}

export function encryptedFields(entity: AnyEntity): readonly string[] {
  return (entity.encrypted ?? []) as readonly string[];
}

/**
 * Wraps the data keys of these records' encrypted fields with the current root key, in one commit with one audit entry. Nothing else
 * of a record changes. A record that is under the current key already, or was deleted, is left out.
 */
export async function rewrapRecords(work: UnitOfWork, entity: AnyEntity, keys: readonly string[]): Promise<void> {
  const { current } = await work.platform.secrets.rootKeys();
  const collection = new Collection(entity, work.store);
  await work.transact<{ readonly records: number }>(async () => {
    const found = (await collection.getMany(keys)).filter((record) => record !== null);
    const fields = encryptedFields(entity);
    const stale = found.filter((record) => keyIdsOf(fields, record).some((id) => id !== current.id));
    if (stale.length === 0) return { done: { records: 0 }, resultOf: null };
    const changes = await Promise.all(stale.map((record) => rewrapped(work, collection, record, current.id)));
    const from = [...new Set(stale.flatMap((record) => keyIdsOf(fields, record)))].filter((id) => id !== current.id).sort();
    const audit: AuditNote = {
      action: "root-key.rewrapped",
      resource: rootKey.name,
      resourceId: current.id,
      data: { entity: entity.name, records: stale.length, from },
    };
    return { commit: { changes, audit: [audit], result: { records: stale.length } }, resultOf: null };
  });
}

async function rewrapped(
  work: UnitOfWork,
  collection: Collection<AnyEntity>,
  before: Stored<AnyEntity>,
  currentId: string,
): Promise<Change> {
  const { entity } = collection;
  const record = before as Readonly<Record<string, unknown>>;
  const fields = encryptedFields(entity).filter((field) => keyIdsOf([field], record).some((id) => id !== currentId));
  const key = collection.keyOfRecord(before);
  const values = await Promise.all(fields.map(async (field) => (
    [field, await work.platform.secrets.rewrap(key, field, record[field] as Sealed)] as const
  )));
  return { entity, before, after: { ...record, ...Object.fromEntries(values) } };
}
