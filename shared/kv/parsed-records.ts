/** A few megabytes of ordinary records. */
const MAX_RECORDS = 1_000;

/** Identifies one state of an entry. */
interface EntryState {
  readonly key: string;
  readonly version: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly expiresAt: string | null;
}

interface Parsed extends Pick<EntryState, "version" | "createdAt" | "updatedAt"> {
  readonly schema: object;
  readonly record: object;
}

/**
 * The records last parsed from entries of one database. It saves no read: it only avoids validating an entry again if an entry with
 * the same key, version and times was validated before.
 */
export class ParsedRecords {
  readonly #byKey = new Map<string, Parsed>();

  /** A copy of the record of exactly this entry, if it is kept. Nested values are frozen. */
  find({ key, version, createdAt, updatedAt }: EntryState, schema: object): object | undefined {
    const known = this.#byKey.get(key);
    const isSame = known?.version === version && known.createdAt === createdAt && known.updatedAt === updatedAt && known.schema === schema;
    return isSame ? { ...known.record } : undefined;
  }

  /** Returns a copy like `find`. An entry that expires is not kept, because it is seldom read twice and can be large. */
  keep<T extends object>({ key, version, createdAt, updatedAt, expiresAt }: EntryState, schema: object, record: T): T {
    for (const member of Object.values(record)) freeze(member);
    if (expiresAt !== null) return record;
    this.#byKey.delete(key);
    const oldest = this.#byKey.size >= MAX_RECORDS ? this.#byKey.keys().next().value : undefined;
    if (oldest !== undefined) this.#byKey.delete(oldest);
    this.#byKey.set(key, { version, createdAt, updatedAt, schema, record });
    return { ...record };
  }
}

function freeze(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  Object.freeze(value);
  for (const member of Object.values(value)) freeze(member);
}
