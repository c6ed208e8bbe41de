/** About 1,500 bytes each, if they have a few hundred characters. */
const MAX_RECORDS = 5_000;
/** Of all records, so that large ones take at most 16 MB. */
const MAX_TOTAL_CHARS = 8_388_608;
/** A record can have 256 Ki characters. One such must not displace hundreds of others. */
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
  readonly chars: number;
}

/**
 * The records last parsed from entries of one database. It saves no read: it only avoids validating an entry again if an entry with
 * the same key, version and times was validated before.
 */
export class ParsedRecords {
  /** In the order in which they were kept. */
  readonly #byKey = new Map<string, Parsed>();
  #totalChars = 0;

  /** A copy of the record of exactly this entry, if it is kept. Nested values are frozen. */
  find({ key, version, createdAt, updatedAt }: EntryState, schema: object): object | undefined {
    const known = this.#byKey.get(key);
    const isSame = known?.version === version && known.createdAt === createdAt && known.updatedAt === updatedAt && known.schema === schema;
    return isSame ? { ...known.record } : undefined;
  }

  /** Returns a copy like `find`. Neither a large record is kept nor an entry that expires, which is seldom read twice. */
  keep<T extends object>({ key, version, createdAt, updatedAt, expiresAt }: EntryState, schema: object, record: T): T {
    let chars = key.length;
    for (const member of Object.values(record)) chars += freeze(member);
    this.#drop(key);
    if (expiresAt !== null || chars > MAX_CHARS) return record;
    for (const oldest of this.#byKey.keys()) {
      if (this.#byKey.size < MAX_RECORDS && this.#totalChars + chars <= MAX_TOTAL_CHARS) break;
      this.#drop(oldest);
    }
    this.#byKey.set(key, { version, createdAt, updatedAt, schema, record, chars });
    this.#totalChars += chars;
    return { ...record };
  }

  #drop(key: string): void {
    this.#totalChars -= this.#byKey.get(key)?.chars ?? 0;
    this.#byKey.delete(key);
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
