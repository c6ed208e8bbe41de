import { hashOfEmail, personOfEmail, personOfRecord, personOfUser } from "../../core/personal-data.ts";
import { personalKey } from "../../core/personal-key.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { type AnyEntity, personFieldsOf } from "../../kv/define.ts";
import { isSegment } from "../../kv/key.ts";
import { LIMITS, type QueryPage } from "../../kv/store.ts";
import type { ErasedPerson } from "../audit/erasure.ts";

/** The records of one kind that name a person in one field. */
export interface Mention {
  readonly entity: string;
  readonly pattern: string;
  readonly field: string;
  readonly count: number;
  /** The keys of the first ones. */
  readonly keys: readonly string[];
}

export interface Mentions {
  readonly records: Mention[];
  /** The tenants that the records belong to. */
  readonly tenants: string[];
  /** Whether these are all tenants. */
  readonly isComplete: boolean;
}

/** Keys of one field that are shown. */
const SHOWN_KEYS = 100;

interface Place {
  readonly entity: AnyEntity;
  readonly field: string;
  readonly values: readonly string[];
}

/** The records that name the person, found by the indexes of the declared fields. */
export async function mentionsOf(work: UnitOfWork, person: ErasedPerson): Promise<Mentions> {
  const places = await placesOf(work, person);
  const found = await Promise.all(places.map((place) => mentionOf(work, place)));
  return {
    records: found.flatMap(({ mention }) => mention.count > 0 ? [mention] : []),
    tenants: [...new Set(found.flatMap(({ tenants }) => tenants))],
    isComplete: found.every(({ isComplete }) => isComplete),
  };
}

/** The tenants with records that name the person: all of them, however many records there are. */
export async function tenantsNaming(work: UnitOfWork, person: ErasedPerson): Promise<string[]> {
  const found = new Set<string>();
  for (const { entity, field, values } of await placesOf(work, person)) {
    let cursor: string | null = null;
    do {
      const query = { entity, where: [{ field, in: values }], limit: LIMITS.pageEntries, ...(cursor === null ? {} : { cursor }) };
      const page: QueryPage = await work.store.query(query);
      for (const { tenantId } of page.entries) if (tenantId !== null) found.add(tenantId);
      cursor = page.cursor;
    } while (cursor !== null);
  }
  return [...found];
}

async function mentionOf({ store }: UnitOfWork, { entity, field, values }: Place) {
  const query = { entity, where: [{ field, in: values }] };
  const { entries, cursor } = await store.query({ ...query, limit: LIMITS.pageEntries });
  const count = cursor === null ? entries.length : await store.count(query);
  const keys = entries.slice(0, SHOWN_KEYS).map(({ key }) => key);
  const mention: Mention = { entity: entity.name, pattern: entity.key, field, count, keys };
  return { mention, tenants: entries.flatMap(({ tenantId }) => tenantId ?? []), isComplete: cursor === null };
}

/** The fields that can name the person, with the values that do. A user id that is no segment of a key is stored as its SHA-256 there. */
async function placesOf(work: UnitOfWork, { userId, emails = [], records = [] }: ErasedPerson): Promise<Place[]> {
  const hashes = await Promise.all(emails.map(hashOfEmail));
  const users = userId === undefined ? [] : isSegment(userId) ? [userId] : [userId, await sha256Hex(userId)];
  const addresses = [...new Set(emails.flatMap((email) => [email, email.toLowerCase()]))];
  const people = [
    ...(userId === undefined ? [] : [personOfUser(userId)]),
    ...hashes.map(personOfEmail),
    ...await Promise.all(records.map(personOfRecord)),
  ];
  const declared = (await work.platform.registry()).flatMap((entity) => {
    const { userIds, emails: ofEmails } = personFieldsOf(entity);
    return [
      ...userIds.map((field) => ({ entity, field, values: users })),
      ...ofEmails.map((field) => ({ entity, field, values: addresses })),
    ];
  });
  const keys = [{ entity: personalKey, field: "person", values: people }, { entity: personalKey, field: "emailHash", values: hashes }];
  return [...declared, ...keys].filter(({ values }) => values.length > 0);
}
