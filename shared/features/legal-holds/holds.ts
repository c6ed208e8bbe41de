import { Collection } from "../../core/collection.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import { keyOf } from "../../kv/define.ts";
import { isSegment } from "../../kv/key.ts";
import type { Check } from "../../kv/store.ts";
import { tenant } from "../tenants/entity.ts";
import { heldPerson, type LegalHold } from "./entity.ts";

/** The number of holds as it changes with one more or one less, on the record of the tenant or person that all deletions check. */
export async function countChange({ store }: UnitOfWork, { tenantId, userId = "" }: LegalHold, by: 1 | -1): Promise<Change[]> {
  if (tenantId !== undefined) {
    const before = await new Collection(tenant, store).get(tenantId);
    if (!before) throw errors.validation([{ path: "/tenantId", message: "must be the id of a tenant", code: "unknown" }]);
    return [{ entity: tenant, before, after: { ...before, legalHolds: Math.max(0, (before.legalHolds ?? 0) + by) } }];
  }
  const before = await new Collection(heldPerson, store).get(userId);
  const holds = (before?.holds ?? 0) + by;
  return before === null && holds < 1 ? [] : [{ entity: heldPerson, before, after: holds < 1 ? null : { userId, holds } }];
}

/** A check that the person is under no legal hold when the commit is made. Throws `legal_hold`. */
export async function noPersonHold({ store }: UnitOfWork, userId: string | undefined): Promise<Check[]> {
  if (userId === undefined || !isSegment(userId)) return [];
  const key = keyOf(heldPerson, { userId });
  if (await store.get(key) === null) return [{ key, version: null }];
  throw new InnkeepError("legal_hold", `The person ${userId} is under legal hold. Release the hold before you erase the data.`);
}
