import { type Actor, ANONYMOUS_ID } from "../kernel/context.ts";
import type { JsonObject, JsonValue } from "../kernel/json.ts";
import { sha256Hex } from "../kernel/sha256.ts";
import type { AnyEntity } from "../kv/define.ts";
import type { AuditNote } from "./transaction.ts";

type Members = Readonly<Record<string, unknown>>;

const ADDRESS = "address:";

/** How a person is known: `person` identifies the keys, and `emailHash` finds the entries of an address. */
export interface Person {
  readonly person: string;
  readonly emailHash?: string;
}

/** Values of one person, and their places in an entry as JSON Pointers. */
export interface PersonalValues {
  readonly of: Person;
  readonly at: readonly string[];
  readonly values: readonly JsonValue[];
}

/** The person with this user id or, without one, this email address; else the record stands for the person. */
export async function personOf(
  { userId, email, record = "" }: { readonly userId?: unknown; readonly email?: unknown; readonly record?: string },
): Promise<Person> {
  const emailHash = typeof email === "string" && email !== "" ? await hashOfEmail(email) : undefined;
  const own = emailHash === undefined ? {} : { emailHash };
  if (typeof userId === "string" && userId !== "") return { person: personOfUser(userId), ...own };
  return { person: emailHash === undefined ? `record:${record}` : personOfEmail(emailHash), ...own };
}

export function personOfUser(userId: string): string {
  return `user:${userId}`;
}

/** The person of an address without a user id. */
export function personOfEmail(emailHash: string): string {
  return `email:${emailHash}`;
}

/** The user id of a person that is a user; null for others. */
export function userOf(person: string): string | null {
  return person.startsWith("user:") ? person.slice("user:".length) : null;
}

/** Requests without a caller have the address in common, and no key with those from other addresses. */
async function personOfActor({ id, email }: Actor, ipAddress: unknown): Promise<Person> {
  if (id !== ANONYMOUS_ID) return await personOf({ userId: id, email });
  return { person: await personOfRecord(`${ADDRESS}${typeof ipAddress === "string" ? ipAddress : ""}`) };
}

/** The record that stands for a person. One that is an IP address, `address:203.0.113.7`, is stored as its hash. */
export async function personOfRecord(record: string): Promise<string> {
  return `record:${record.startsWith(ADDRESS) ? `${ADDRESS}${await sha256Hex(`innkeep ${record}`)}` : record}`;
}

export async function hashOfEmail(email: string): Promise<string> {
  return await sha256Hex(`innkeep email:${email.trim().toLowerCase()}`);
}

/** The personal data of an entry, by person: that of an actor who is a person, and the declared fields of the record. */
export async function personalValues(draft: JsonObject, note: AuditNote, actor: Actor): Promise<PersonalValues[]> {
  const entity = note.of?.entity ?? note.entity;
  const isPerson = actor.type === "admin" || actor.type === "user";
  const sides = entity && (entity.personal ?? []).length > 0
    ? [
      await fieldsAt(draft, "/changes/before", entity, note, note.of?.before),
      await fieldsAt(draft, "/changes/after", entity, note, note.of?.after ?? note.of?.before),
      await fieldsAt(draft, "/data", entity, note, note.of?.after ?? note.of?.before),
    ]
    : [];
  const own = isPerson ? [found(draft, ["/actor/email", "/ipAddress", "/userAgent"], await personOfActor(actor, draft["ipAddress"]))] : [];
  return merged([...own, ...sides].filter(({ at }) => at.length > 0));
}

async function fieldsAt(
  draft: JsonObject,
  place: string,
  { personal = [], subjects = {} }: AnyEntity,
  { resource, resourceId }: AuditNote,
  record: Members | null | undefined,
): Promise<PersonalValues> {
  const whose = record ?? valueAt(draft, place) as Members | undefined ?? {};
  const [userId, email] = [subjects.userId, subjects.email].map((field) => field === undefined ? undefined : whose[field]);
  return found(
    draft,
    personal.map((field: string) => `${place}/${field}`),
    await personOf({ userId, email, record: `${resource}:${resourceId}` }),
  );
}

function found(draft: JsonObject, places: readonly string[], of: Person): PersonalValues {
  const at = places.filter((place) => (valueAt(draft, place) ?? null) !== null);
  return { of, at, values: at.map((place) => valueAt(draft, place) as JsonValue) };
}

/** One element for each person, so that each needs one key. */
function merged(all: readonly PersonalValues[]): PersonalValues[] {
  const byPerson = new Map<string, PersonalValues>();
  for (const one of all) {
    const id = JSON.stringify(one.of);
    const known = byPerson.get(id);
    byPerson.set(id, known ? { ...known, at: [...known.at, ...one.at], values: [...known.values, ...one.values] } : one);
  }
  return [...byPerson.values()];
}

/** The names of fields need no escape in a JSON Pointer. */
function partsOf(place: string): string[] {
  return place.slice(1).split("/");
}

function valueAt(object: JsonObject, place: string): JsonValue | undefined {
  let value: JsonValue | undefined = object;
  for (const name of partsOf(place)) value = (value as JsonObject | null | undefined)?.[name];
  return value;
}

/** The object with the value at this place, or without it for undefined. */
export function withValue(object: JsonObject, place: string, value: JsonValue | undefined): JsonObject {
  return replaced(object, partsOf(place), value);
}

function replaced(object: JsonObject, [name = "", ...rest]: readonly string[], value: JsonValue | undefined): JsonObject {
  const { [name]: own, ...others } = object;
  if (rest.length > 0) return { ...object, [name]: replaced((own ?? {}) as JsonObject, rest, value) };
  return value === undefined ? others : { ...object, [name]: value };
}
