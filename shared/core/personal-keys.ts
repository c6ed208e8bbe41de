import { fromBase64, toBase64Url } from "../kernel/base64.ts";
import { type Clock, isoTime } from "../kernel/clock.ts";
import { isInnkeepError } from "../kernel/errors.ts";
import type { JsonObject, JsonValue } from "../kernel/json.ts";
import type { Logger } from "../kernel/logger.ts";
import { keyOf } from "../kv/define.ts";
import { type Entry, LIMITS, type Mutation, type Store } from "../kv/store.ts";
import { aesKey, type Bytes, decrypt, encrypt } from "./aes-gcm.ts";
import { type AuditEntry, ERASED, UNREADABLE } from "./audit-entry.ts";
import { Collection } from "./collection.ts";
import { type Person, type PersonalValues, personOfUser, withValue } from "./personal-data.ts";
import { KEY_USE_DAYS, personalKey } from "./personal-key.ts";
import { ROOT_KEY_BYTES } from "./root-keys.ts";
import type { SecretBox } from "./secret-box.ts";

/** A deleted key may encrypt new entries for this long, in a process that knew it. Nobody can read what it encrypts. */
const KNOWN_MS = 5 * 60_000;
const MAX_KNOWN = 5_000;
/** A person has one key for each email address and, if several processes began at once, for each of them. */
const MAX_READ = 10;
const ID_BYTES = 16;
const KEY_USE_MS = KEY_USE_DAYS * 86_400_000;

/** A key in use. */
interface Known {
  readonly id: string;
  readonly key: CryptoKey;
}

/** The keys of one person, by the hash of the email address; `""` without one. */
interface KnownPerson {
  readonly byEmail: ReadonlyMap<string, Known>;
  readonly readAtMs: number;
}

/** An entry before its personal data is encrypted. */
export interface OpenDraft {
  readonly draft: JsonObject;
  readonly personal: readonly PersonalValues[];
}

/** Entries whose personal data is encrypted. The commit has to store `keys`, and then calls `remember`. */
export interface SealedDrafts {
  readonly drafts: readonly JsonObject[];
  readonly keys: readonly Mutation[];
  readonly remember: () => void;
}

interface Made {
  readonly of: Person;
  readonly known: Known;
  readonly mutation: Mutation;
}

/** An entry as it is shown, and the places and values of its personal data. */
export interface OpenedEntry {
  readonly entry: JsonObject;
  readonly opened: Readonly<Record<string, JsonValue>>;
}

/**
 * Encrypts and decrypts the personal data of audit entries. The keys are records of the platform, also for callers that are bound to a
 * tenant. A person can have several: a process that knows none makes a new one, because a write must not wait for a read.
 */
export class PersonalKeys {
  readonly #people = new Map<string, KnownPerson>();
  readonly #reading = new Map<string, Promise<void>>();
  #hasWarned = false;

  /** `secrets`: null without a root key; personal data is then stored as it is. */
  constructor(
    private readonly deps: { readonly store: Store; readonly secrets: SecretBox | null; readonly clock: Clock; readonly logger: Logger },
  ) {}

  /** For entries that are not stored: it makes no keys. */
  unsealed(): PersonalKeys {
    const own = new PersonalKeys({ ...this.deps, secrets: null });
    own.#hasWarned = true;
    return own;
  }

  /** Starts to read the keys of a user, together with the look-up of the caller. */
  prefetch(userId: string): void {
    const person = personOfUser(userId);
    if (this.deps.secrets === null || this.#isFresh(person) || this.#reading.has(person)) return;
    const reading = this.#read(person, this.deps.secrets).catch(() => undefined).finally(() => this.#reading.delete(person));
    this.#reading.set(person, reading);
  }

  /** Replaces the personal data of the entries of one commit by its ciphertext. Throws `root_key_unavailable`. */
  async seal(all: readonly OpenDraft[]): Promise<SealedDrafts> {
    const { secrets } = this.deps;
    if (secrets === null && all.some(({ personal }) => personal.length > 0)) this.#warn();
    if (secrets === null) return { drafts: all.map(({ draft }) => draft), keys: [], remember: () => undefined };
    const made: Made[] = [];
    const drafts: JsonObject[] = [];
    for (const one of all) drafts.push(await this.#sealed(one, secrets, made));
    return {
      drafts,
      keys: made.map(({ mutation }) => mutation),
      remember: () => made.forEach(({ of, known }) => this.#remember(of, known)),
    };
  }

  /** Stores new keys apart from the commit that needs them, for a caller who may not write records of the platform. */
  async store(keys: readonly Mutation[]): Promise<void> {
    if (keys.length > 0) await this.deps.store.commit([], keys);
  }

  /** The entries with their personal data. The keys are read each time, so that nothing is shown after its erasure. */
  async open(entries: readonly JsonObject[]): Promise<OpenedEntry[]> {
    const ids = [...new Set(entries.flatMap((entry) => personalOf(entry).map(({ key }) => key)))];
    const keys = await this.#keysWith(ids);
    return await Promise.all(entries.map(async (entry) => await openedWith(keys, entry)));
  }

  /** The ids of the keys of every user with this email address, newest first. */
  async idsWithEmail(emailHash: string): Promise<string[]> {
    const { entries } = await this.deps.store.query({
      entity: personalKey,
      // The address of an actor lies under a key of the user, not of a record that names the address.
      where: [{ field: "emailHash", in: [emailHash] }, { field: "person", prefix: personOfUser("") }],
      orderBy: [{ field: "createdAt", direction: "desc" }],
      limit: LIMITS.pageEntries,
    });
    return entries.map(({ value }) => String((value as JsonObject)["id"]));
  }

  /** After the erasure of a person. */
  forget(person: string): void {
    this.#people.delete(person);
  }

  async #sealed({ draft, personal: all }: OpenDraft, secrets: SecretBox, made: Made[]): Promise<JsonObject> {
    const personal: NonNullable<AuditEntry["personal"]> = [];
    let rest = draft;
    for (const { of, at, values } of all) {
      const { id, key } = await this.#keyOf(of, secrets, made);
      const plain = new TextEncoder().encode(JSON.stringify(values));
      personal.push({ key: id, at: [...at], sealed: await encrypt(key, contextOf(draft["id"], id), plain) });
      for (const place of at) rest = withValue(rest, place, undefined);
      // The filter by address compares the key instead.
      if (at.includes("/actor/email")) rest = { ...rest, userEmail: id };
    }
    return personal.length === 0 ? draft : { ...rest, personal };
  }

  /** A known key, else a new one. Keys that may have been deleted meanwhile are read again. */
  async #keyOf(of: Person, secrets: SecretBox, made: Made[]): Promise<Known> {
    const { person, emailHash = "" } = of;
    const own = made.find((one) => one.of.person === person && one.of.emailHash === of.emailHash);
    if (own) return own.known;
    await this.#reading.get(person);
    if (this.#people.has(person) && !this.#isFresh(person)) await this.#read(person, secrets);
    const known = this.#people.get(person)?.byEmail.get(emailHash);
    if (known) return known;
    const next = await this.#made(of, secrets);
    made.push(next);
    return next.known;
  }

  async #made(of: Person, secrets: SecretBox): Promise<Made> {
    const bytes = crypto.getRandomValues(new Uint8Array(ROOT_KEY_BYTES));
    const id = toBase64Url(crypto.getRandomValues(new Uint8Array(ID_BYTES)));
    const secret = await secrets.seal(keyOf(personalKey, { id }), "secret", toBase64Url(bytes));
    const createdAt = isoTime(this.deps.clock.now());
    const mutation = new Collection(personalKey, this.deps.store).set({ ...of, id, secret, createdAt });
    return { of, known: { id, key: await aesKey(bytes) }, mutation };
  }

  async #read(person: string, secrets: SecretBox): Promise<void> {
    const { store, clock } = this.deps;
    const readAtMs = clock.now();
    const { entries } = await store.query({
      entity: personalKey,
      where: [{ field: "person", in: [person] }, { field: "createdAt", from: isoTime(readAtMs - KEY_USE_MS) }],
      orderBy: [{ field: "createdAt", direction: "desc" }],
      limit: MAX_READ,
    });
    const collection = new Collection(personalKey, store);
    const found = await Promise.all(entries.map(async (entry) => {
      const key = await unwrapped(secrets, collection, entry);
      const { id, emailHash = "" } = entry.value as { readonly id: string; readonly emailHash?: string };
      return key && [emailHash, { id, key }] as const;
    }));
    this.#keep(person, { readAtMs, byEmail: new Map(found.filter((one) => one !== null)) });
  }

  /** Null: there is such a key, but it cannot be used. Absent: it was deleted. */
  async #keysWith(ids: readonly string[]): Promise<ReadonlyMap<string, CryptoKey | null>> {
    const { store, secrets } = this.deps;
    const collection = new Collection(personalKey, store);
    const keys = new Map<string, CryptoKey | null>();
    for (let from = 0; from < ids.length; from += LIMITS.pageEntries) {
      const page = ids.slice(from, from + LIMITS.pageEntries);
      const found = await store.mget(page.map((id) => keyOf(personalKey, { id })));
      await Promise.all(page.map(async (id, i) => {
        const entry = found[i];
        if (entry) keys.set(id, secrets && await unwrapped(secrets, collection, entry));
      }));
    }
    return keys;
  }

  #remember({ person, emailHash = "" }: Person, known: Known): void {
    const { byEmail = [], readAtMs = this.deps.clock.now() } = this.#people.get(person) ?? {};
    this.#keep(person, { readAtMs, byEmail: new Map([...byEmail, [emailHash, known]]) });
  }

  #keep(person: string, known: KnownPerson): void {
    this.#people.delete(person);
    const [oldest] = this.#people.size >= MAX_KNOWN ? this.#people.keys() : [];
    if (oldest !== undefined) this.#people.delete(oldest);
    this.#people.set(person, known);
  }

  #isFresh(person: string): boolean {
    const known = this.#people.get(person);
    return known !== undefined && Math.abs(this.deps.clock.now() - known.readAtMs) < KNOWN_MS;
  }

  #warn(): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.deps.logger.warn("personal_data_not_encrypted", { reason: "The platform has no root key. Set INNKEEP_ROOT_KEY." });
  }
}

function personalOf(entry: JsonObject): NonNullable<AuditEntry["personal"]> {
  return (entry["personal"] ?? []) as NonNullable<AuditEntry["personal"]>;
}

async function openedWith(keys: ReadonlyMap<string, CryptoKey | null>, stored: JsonObject): Promise<OpenedEntry> {
  const { personal: _, ...rest } = stored;
  const opened: Record<string, JsonValue> = {};
  let entry: JsonObject = rest;
  for (const { key: id, at, sealed } of personalOf(stored)) {
    const key = keys.get(id);
    const plain = key ? await decrypt(key, contextOf(stored["id"], id), sealed) : null;
    const values = plain && JSON.parse(new TextDecoder().decode(plain)) as readonly JsonValue[];
    for (const [i, place] of at.entries()) {
      const value = values?.[i] ?? (keys.has(id) ? UNREADABLE : ERASED);
      opened[place] = value;
      entry = withValue(entry, place, value);
      if (place === "/actor/email") entry = { ...entry, userEmail: value };
    }
  }
  return { entry, opened };
}

/** Null if the root key of the key is not available, or the record is damaged. */
async function unwrapped(secrets: SecretBox, collection: Collection<typeof personalKey>, entry: Entry): Promise<CryptoKey | null> {
  const record = collection.readIfValid(entry);
  if (!record) return null;
  try {
    // Not asked of the box: looking for a key that another process has got in a rotation would end this process's use of its own.
    const { current, previous } = await secrets.rootKeys();
    if (![current, ...previous].some(({ id }) => id === record.secret.keyId)) return null;
    const bytes = fromBase64(String(await secrets.open(entry.key, "secret", record.secret)));
    return bytes && await aesKey(bytes);
  } catch (error) {
    if (isInnkeepError(error, "root_key_unavailable") || isInnkeepError(error, "decryption_failed")) return null;
    throw error;
  }
}

/** What is authenticated with the values: they belong to this entry. */
function contextOf(entryId: JsonValue | undefined, keyId: string): Bytes {
  return new TextEncoder().encode(`${String(entryId)}\n${keyId}`);
}
