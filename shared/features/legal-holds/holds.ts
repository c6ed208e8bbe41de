import { Collection } from "../../core/collection.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import { isSegment } from "../../kv/key.ts";
import type { Check, Store } from "../../kv/store.ts";
import { tenant } from "../tenants/entity.ts";
import { heldPerson, type LegalHold } from "./entity.ts";

/** The numbers of holds as they change with one more or one less, on the records of the tenants and the person that deletions check. */
export async function countChanges({ store }: UnitOfWork, hold: LegalHold, by: 1 | -1): Promise<Change[]> {
  const { tenantId, userId, tenants: named = [] } = hold;
  const tenants = new Collection(tenant, store);
  const ids = tenantId === undefined ? named : [tenantId];
  const found = await tenants.getMany(ids.map((id) => tenants.key({ id })));
  if (tenantId !== undefined && !found[0]) {
    throw errors.validation([{ path: "/tenantId", message: "must be the id of a tenant", code: "unknown" }]);
  }
  const changes = found.flatMap((before): Change[] =>
    before ? [{ entity: tenant, before, after: { ...before, legalHolds: Math.max(0, (before.legalHolds ?? 0) + by) } }] : []
  );
  return userId === undefined ? changes : [...changes, ...await personChange(store, userId, by)];
}

async function personChange(store: Store, userId: string, by: 1 | -1): Promise<Change[]> {
  const before = await new Collection(heldPerson, store).get(userId);
  const holds = (before?.holds ?? 0) + by;
  return before === null && holds < 1 ? [] : [{ entity: heldPerson, before, after: holds < 1 ? null : { userId, holds } }];
}

/** Checks that none of the persons is under legal hold when the commit is made. Throws `legal_hold`. */
export async function noPersonHolds({ store }: UnitOfWork, userIds: readonly string[]): Promise<Check[]> {
  const ids = [...new Set(userIds)].filter(isSegment);
  const keys = ids.map((userId) => keyOf(heldPerson, { userId }));
  const held = keys.length === 0 ? -1 : (await store.mget(keys)).findIndex((entry) => entry !== null);
  if (held < 0) return keys.map((key) => ({ key, version: null }));
  throw new InnkeepError("legal_hold", `The person ${ids[held]} is under legal hold. Release the hold before you erase the data.`);
}
