import { Collection } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { type AnyEntity, cascadesOf } from "../../kv/define.ts";
import type { QueryPage } from "../../kv/store.ts";
import { policy } from "../retention/entity.ts";

/** The records of one kind that a tenant has: those that its deletion removes, and those that it keeps. */
export interface Left {
  readonly entity: AnyEntity;
  readonly after: number;
  readonly kept: number;
}

/** Counts what the store has of the tenant, by every kind that belongs to tenants. */
export async function recordsLeft(work: UnitOfWork, tenantId: string): Promise<Left[]> {
  const entities = (await work.platform.registry()).filter(({ owner }) => owner !== "platform");
  return await Promise.all(entities.map(async (entity) => {
    const count = await work.store.count({ entity, scope: tenantId });
    if (typeof entity.onTenantDelete !== "function") {
      return entity.onTenantDelete === "retain" ? { entity, after: 0, kept: count } : { entity, after: count, kept: 0 };
    }
    const kept = count === 0 ? 0 : await countKept(work, entity, tenantId);
    return { entity, after: count - kept, kept };
  }));
}

/** Of an entity whose records differ in it, the number of those that are kept. */
async function countKept({ store }: UnitOfWork, entity: AnyEntity, scope: string): Promise<number> {
  const records = new Collection(entity, store);
  let kept = 0;
  let cursor: string | null = null;
  do {
    const page: QueryPage = await store.query({ entity, scope, limit: 500, ...(cursor === null ? {} : { cursor }) });
    kept += page.entries.filter((entry) => {
      const record = records.readIfValid(entry);
      return record && !cascadesOf(entity, record);
    }).length;
    cursor = page.cursor;
  } while (cursor !== null);
  return kept;
}

/** On what ground records are kept: the legal basis of the enabled policy for all of them, else that of the declaration. */
export async function groundsOf({ store }: UnitOfWork): Promise<(entity: AnyEntity) => string> {
  const { records } = await new Collection(policy, store).list({ where: [{ field: "enabled", in: [true] }], limit: 500 });
  const bases = new Map(records.flatMap(({ type, legalBasis, tenantId, planId }) => (
    legalBasis !== undefined && tenantId === undefined && planId === undefined ? [[type, legalBasis] as const] : []
  )));
  return ({ name, keptBecause = "" }) => bases.get(name) ?? keptBecause;
}
