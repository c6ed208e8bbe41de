import { hashOfEmail, personOfEmail, personOfRecord, personOfUser } from "../../core/personal-data.ts";
import { personalKey } from "../../core/personal-key.ts";
import type { Decision, Transaction, UnitOfWork } from "../../core/unit-of-work.ts";
import { keyOf } from "../../kv/define.ts";
import { noPersonHolds } from "../legal-holds/holds.ts";

/** A user with an id, with email addresses, or both. */
export interface ErasedPerson {
  readonly userId?: string | undefined;
  readonly emails?: readonly string[] | undefined;
  /** What stands for a person because it names none: a record as `tenant:tn_1`, or an IP address as `address:203.0.113.7`. */
  readonly records?: readonly string[] | undefined;
}

/** What is known of a person, to find the keys by. */
interface Sought {
  readonly people: ReadonlySet<string>;
  readonly hashes: ReadonlySet<string>;
}

/** A commit also has other writes; above 200 keys it locks whole families. */
const KEYS_AT_ONCE = 100;
/** Rounds in which other processes may write the person's data again. */
const MAX_ROUNDS = 1_000;

/**
 * Deletes the keys of a person, also those under the addresses that the keys name, and counts them. The person's data in the
 * audit log is then `[erased]`, in backups too once they have passed, and the chains stay valid, because their hashes cover the
 * ciphertext. An entry without personal data records it; `resourceId` is what it names. It repeats until it finds no key; `noted` is what
 * each of its commits contains besides. Throws `legal_hold`.
 */
export async function erasePerson(
  work: UnitOfWork,
  person: ErasedPerson,
  resourceId: string,
  noted: Noted = () => Promise.resolve({ id: null }),
): Promise<{ readonly keys: number; readonly id: string | null }> {
  let keys = 0;
  let id: string | null = null;
  let sought = await soughtOf(person);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const { result } = await work.transact<Round>(() =>
      decide(work, { ...sought, userId: person.userId, resourceId, noted, id }, round === 0)
    );
    keys += result.keys;
    id = result.id;
    if (result.keys === 0) break;
    sought = { ...sought, hashes: new Set([...sought.hashes, ...result.hashes]) };
  }
  return { keys, id };
}

interface Round extends Pick<Note, "id"> {
  readonly keys: number;
  /** The addresses that the keys named. */
  readonly hashes: readonly string[];
}

/** What a commit contains besides. `id` names the record of the erasure. */
export interface Note extends Pick<Transaction<unknown>, "changes" | "events"> {
  readonly id: string | null;
}
/** Given the number of keys that the commit deletes, and the record that an earlier commit has made. */
export type Noted = (keys: number, id: string | null) => Promise<Note>;

interface Erased extends Sought, Pick<ErasedPerson, "userId">, Pick<Note, "id"> {
  readonly resourceId: string;
  readonly noted: Noted;
}

async function decide(work: UnitOfWork, { noted, resourceId, id: known, ...sought }: Erased, isFirst: boolean): Promise<Decision<Round>> {
  const asked = personsOf(sought);
  const [ofAsked, found] = await Promise.all([noPersonHolds(work, [...asked]), keysOf(work, sought)]);
  // An address finds keys of users whose ids were not asked for, and an id those with addresses that were not.
  const others = found.flatMap(({ person, emailHash }) => [person, ...emailHash === undefined ? [] : [personOfEmail(emailHash)]]);
  const checks = [...ofAsked, ...await noPersonHolds(work, others.filter((person) => !asked.has(person)))];
  for (const { person } of found) work.platform.personal.forget(person);
  for (const person of sought.people) work.platform.personal.forget(person);
  const counted = { keys: found.length, hashes: found.flatMap(({ emailHash }) => emailHash ?? []) };
  if (found.length === 0 && !isFirst) return { done: { ...counted, id: known }, resultOf: null };
  const { id, ...note } = await noted(found.length, known);
  const data = { keys: found.length };
  return {
    commit: {
      ...note,
      checks,
      mutations: found.map(({ id }) => ({ op: "delete", key: keyOf(personalKey, { id }) })),
      audit: [{ action: "person.erased", resource: "person", resourceId, data, anonymous: true }],
      result: { ...counted, id },
    },
    resultOf: null,
  };
}

function personsOf({ people, hashes }: Sought): Set<string> {
  return new Set([...people, ...[...hashes].map(personOfEmail)]);
}

async function soughtOf({ userId, emails = [], records = [] }: ErasedPerson): Promise<Sought> {
  return {
    people: new Set([...(userId === undefined ? [] : [personOfUser(userId)]), ...await Promise.all(records.map(personOfRecord))]),
    hashes: new Set(await Promise.all(emails.map(hashOfEmail))),
  };
}

const namesOfKey = personalKey.schema.pick({ id: true, person: true, emailHash: true });

async function keysOf({ store }: UnitOfWork, { people, hashes }: Sought) {
  const wanted = [["person", [...personsOf({ people, hashes })]], ["emailHash", [...hashes]]] as const;
  const pages = await Promise.all(
    wanted.filter(([, values]) => values.length > 0).map(async ([field, values]) => (
      (await store.query({ entity: personalKey, where: [{ field, in: values }], limit: KEYS_AT_ONCE })).entries
    )),
  );
  const keys = pages.flat().map(({ value }) => namesOfKey.parse(value));
  return [...new Map(keys.map((key) => [key.id, key])).values()];
}
