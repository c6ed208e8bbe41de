import { Collection, type Stored } from "../../core/collection.ts";
import type { RootKeys, RootKeySource } from "../../core/root-keys.ts";
import type { AuditNote, Change } from "../../core/transaction.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { familyOf, keyOf } from "../../kv/define.ts";
import { LIMITS, type Store } from "../../kv/store.ts";
import { rootKey } from "./entity.ts";
import { isNeeded, missingKeys } from "./rules.ts";

/** The keys that encrypted fields of this database, or did so. A platform has one more for each rotation. */
export async function knownKeys(store: Store): Promise<Stored<typeof rootKey>[]> {
  const { entries } = await store.list({ prefix: familyOf(rootKey), limit: LIMITS.pageEntries });
  const keys = new Collection(rootKey, store);
  return entries.map((entry) => keys.read(entry));
}

/**
 * The source, with a check before the first use of its keys: they must contain every key that records are encrypted with, and a new
 * current key is recorded. So a process with a wrong key neither reads nor writes an encrypted field.
 */
export function checkedRootKeys(source: RootKeySource, workOf: () => UnitOfWork): RootKeySource {
  return {
    ...source,
    load: async () => {
      const keys = await source.load();
      await assertRootKeys(workOf(), keys);
      return keys;
    },
  };
}

/** Throws `root_key_unavailable` if records are encrypted with a key that is not among these. */
export async function assertRootKeys(work: UnitOfWork, keys: RootKeys): Promise<void> {
  const known = await knownKeys(work.store);
  assertNoneIsMissing(known, keys);
  if (known.some((record) => record.id === keys.current.id && isNeeded(record))) return;
  await recordCurrent(work, keys.current.id);
  // Another process may have recorded another key meanwhile.
  assertNoneIsMissing(await knownKeys(work.store), keys);
}

function assertNoneIsMissing(known: Parameters<typeof missingKeys>[0], keys: RootKeys): void {
  const missing = missingKeys(known, keys);
  if (missing.length === 0) return;
  throw new InnkeepError(
    "root_key_unavailable",
    `The root key is not that of this database: the configured key has the id ${keys.current.id}, and records are encrypted with ` +
      `${missing.join(", ")}. Set INNKEEP_ROOT_KEY to that key, or after a rotation keep it in INNKEEP_ROOT_KEY_PREVIOUS.`,
  );
}

async function recordCurrent(work: UnitOfWork, id: string): Promise<void> {
  const keys = new Collection(rootKey, work.store);
  await work.transact<{ readonly id: string }>(async () => {
    const before = await keys.get(keyOf(rootKey, { id }));
    if (before && isNeeded(before)) return { done: { id }, resultOf: null };
    const { unusedSince: _, lostSince: __, ...rest } = before ?? { id, createdAt: work.now(), records: 0 };
    const change: Change = { entity: rootKey, before, after: rest };
    const audit: AuditNote = { action: "root-key.added", resource: rootKey.name, resourceId: id, of: change };
    return { commit: { changes: [change], audit: [audit], result: { id } }, resultOf: null };
  });
}
