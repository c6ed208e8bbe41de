import { Collection } from "../../core/collection.ts";
import { hashOfEmail, personOfEmail, personOfUser } from "../../core/personal-data.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import { isSegment } from "../../kv/key.ts";
import type { Check, Store } from "../../kv/store.ts";
import { tenant } from "../tenants/entity.ts";
import { heldPerson, type LegalHold } from "./entity.ts";

/** The numbers of holds as they change with one more or one less, on the records of the tenants and the person that deletions check. */
export async function countChanges({ store }: UnitOfWork, hold: LegalHold, by: 1 | -1): Promise<Change[]> {
  const { tenantId, userId, email, tenants: named = [] } = hold;
  const tenants = new Collection(tenant, store);
  const ids = tenantId === undefined ? named : [tenantId];
  const found = await tenants.getMany(ids.map((id) => tenants.key({ id })));
  if (tenantId !== undefined && !found[0]) {
    throw errors.validation([{ path: "/tenantId", message: "must be the id of a tenant", code: "unknown" }]);
  }
  const changes = found.flatMap((before): Change[] =>
    before ? [{ entity: tenant, before, after: { ...before, legalHolds: Math.max(0, (before.legalHolds ?? 0) + by) } }] : []
  );
  const persons = [
    ...userId === undefined ? [] : [personOfUser(userId)],
    ...email === undefined ? [] : [personOfEmail(await hashOfEmail(email))],
  ];
  return [...changes, ...(await Promise.all(persons.map((person) => personChange(store, person, by)))).flat()];
}

async function personChange(store: Store, person: string, by: 1 | -1): Promise<Change[]> {
  const named = heldOf(person);
  if (!named) return [];
  const before = await new Collection(heldPerson, store).get(keyOf(heldPerson, named));
  const holds = (before?.holds ?? 0) + by;
  return before === null && holds < 1 ? [] : [{ entity: heldPerson, before, after: holds < 1 ? null : { ...named, holds } }];
}

/**
 * Checks that none of the persons, such as `user:<id>` and `email:<hash>`, is under legal hold when the commit is made. Throws
 * `legal_hold`.
 */
export async function noPersonHolds({ store }: UnitOfWork, persons: readonly string[]): Promise<Check[]> {
  const named = [...new Set(persons)].flatMap((person) => heldOf(person) ?? []);
  const keys = named.map((one) => keyOf(heldPerson, one));
  const held = named[keys.length === 0 ? -1 : (await store.mget(keys)).findIndex((entry) => entry !== null)];
  if (!held) return keys.map((key) => ({ key, version: null }));
  const who = held.kind === "user" ? `The person ${held.name}` : "A person with this email address";
  throw new InnkeepError("legal_hold", `${who} is under legal hold. Release the hold before you erase the data.`);
}

/** Null for what no hold can name, such as a record that stands for a person. */
function heldOf(person: string): { readonly kind: "user" | "email"; readonly name: string } | null {
  const at = person.indexOf(":");
  const [kind, name] = [person.slice(0, at), person.slice(at + 1)];
  return (kind === "user" || kind === "email") && isSegment(name) ? { kind, name } : null;
}
