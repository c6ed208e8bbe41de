import { cascadePlan } from "../../core/cascade.ts";
import type { Stored } from "../../core/collection.ts";
import type { Transaction, UnitOfWork } from "../../core/unit-of-work.ts";
import { tenant } from "./entity.ts";

/** The part of a commit that deletes a tenant with everything that cascades, and is recorded in both chains. */
export function removalOf(before: Stored<typeof tenant>): Omit<Transaction<unknown>, "result"> {
  const { id, name, version } = before;
  const note = { action: "tenant.deleted", resource: "tenant", resourceId: id, of: { entity: tenant, before, after: null } };
  return {
    checks: [{ key: `tenant:${id}`, version }],
    mutations: [{ op: "deleteOwner", tenantId: id }],
    audit: [{ ...note, tenantId: id }, note],
    events: [{ type: "tenant.deleted", subject: id, tenantId: id, data: { tenantId: id, name } }],
  };
}

/** The number of records by kind that go with the tenant, but for kinds that have none. */
export async function countCascading({ store, platform }: UnitOfWork, tenantId: string): Promise<Record<string, number>> {
  const registry = await platform.registry();
  const cascading = registry.filter((entity) => cascadePlan([entity]).some(({ rule }) => rule === "delete" || rule === "depends"));
  const counts = await Promise.all(cascading.map(async (entity) => [entity.name, await store.count({ entity, scope: tenantId })] as const));
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}
