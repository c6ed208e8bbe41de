/** A few megabytes of ordinary records, and 16 MB at most. */
const MAX_RECORDS = 1_000;
/** Ordinary records have a few hundred characters. A record can have 256 Ki of them, and a thousand such exceed the memory. */
const MAX_CHARS = 8_192;
/** What a member without text counts as. */
const MEMBER_CHARS = 8;

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

  /** Returns a copy like `find`. Neither a large record is kept nor an entry that expires, which is seldom read twice. */
  keep<T extends object>({ key, version, createdAt, updatedAt, expiresAt }: EntryState, schema: object, record: T): T {
    let chars = 0;
    for (const member of Object.values(record)) chars += freeze(member);
    this.#byKey.delete(key);
    if (expiresAt !== null || chars > MAX_CHARS) return record;
    const oldest = this.#byKey.size >= MAX_RECORDS ? this.#byKey.keys().next().value : undefined;
    if (oldest !== undefined) this.#byKey.delete(oldest);
    this.#byKey.set(key, { version, createdAt, updatedAt, schema, record });
    return { ...record };
  }
}

/** Freezes the value, and returns its approximate size in characters. */
function freeze(value: unknown): number {
  if (typeof value === "string") return MEMBER_CHARS + value.length;
  if (typeof value !== "object" || value === null) return MEMBER_CHARS;
  Object.freeze(value);
  let chars = MEMBER_CHARS;
  for (const [name, member] of Object.entries(value)) chars += name.length + freeze(member);
  return chars;
}
