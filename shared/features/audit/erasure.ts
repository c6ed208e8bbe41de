import { hashOfEmail, personOfUser } from "../../core/personal-data.ts";
import { personalKey } from "../../core/personal-key.ts";
import type { AuditNote } from "../../core/transaction.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { keyOf } from "../../kv/define.ts";
import type { Mutation } from "../../kv/store.ts";

/** A user with an id, with email addresses, or both. */
export interface ErasedPerson {
  readonly userId?: string | undefined;
  readonly emails?: readonly string[] | undefined;
}

/** What a commit at the service level needs to erase a person's data in the audit log. */
export interface Erasure {
  readonly mutations: readonly Mutation[];
  readonly audit: readonly AuditNote[];
  /** Whether more keys remain for another commit. */
  readonly isLast: boolean;
}

/** A commit also has other writes; above 200 keys it locks whole families. */
const KEYS_AT_ONCE = 100;

/**
 * Deletes the keys of a person. Their data in the audit log is then `[erased]`, in backups too once they have passed, and the chains
 * stay valid, because their hashes cover the ciphertext. An entry without personal data records it.
 */
export async function erasureOf(work: UnitOfWork, { userId, emails = [] }: ErasedPerson, resourceId: string): Promise<Erasure> {
  const hashes = await Promise.all(emails.map(hashOfEmail));
  const people = [...(userId === undefined ? [] : [personOfUser(userId)]), ...hashes.map((hash) => `email:${hash}`)];
  const pages = await Promise.all([["person", people] as const, ["emailHash", hashes] as const].map(async ([field, values]) => (
    values.length === 0
      ? []
      : (await work.store.query({ entity: personalKey, where: [{ field, in: values }], limit: KEYS_AT_ONCE })).entries
  )));
  const found = new Map(pages.flat().map(({ value }) => [String((value as JsonObject)["id"]), String((value as JsonObject)["person"])]));
  for (const person of [...people, ...found.values()]) work.platform.personal.forget(person);
  return {
    mutations: [...found.keys()].map((id) => ({ op: "delete", key: keyOf(personalKey, { id }) })),
    audit: [{ action: "person.erased", resource: "person", resourceId, data: { keys: found.size } }],
    isLast: pages.every(({ length }) => length < KEYS_AT_ONCE),
  };
}

/** Erases a person in as many commits as it takes, and returns the number of keys. `resourceId`: what the audit entries name. */
export async function erasePerson(work: UnitOfWork, person: ErasedPerson, resourceId: string): Promise<number> {
  let keys = 0;
  for (;;) {
    const { result } = await work.transact<{ readonly keys: number; readonly isLast: boolean }>(async () => {
      const { mutations, audit, isLast } = await erasureOf(work, person, resourceId);
      return { commit: { mutations, audit, result: { keys: mutations.length, isLast } }, resultOf: null };
    });
    keys += result.keys;
    if (result.isLast) return keys;
  }
}
