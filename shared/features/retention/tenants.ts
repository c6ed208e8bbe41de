import { Collection, type Stored } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { Check, Condition, Entry } from "../../kv/store.ts";
import { tenant } from "../tenants/entity.ts";
import { isUnderLegalHold } from "../tenants/rules.ts";

const MAX_PAGE = 500;

/** The tenants of the entries: which are under legal hold, their plans, and checks that none of them changes before the commit. */
export async function tenantsOf(work: UnitOfWork, entries: readonly Pick<Entry, "tenantId">[]) {
  const records = new Collection(tenant, work.store);
  const ids = [...new Set(entries.map(({ tenantId }) => tenantId))].filter((id) => id !== null);
  const found = await records.getMany(ids.map((id) => records.key({ id })));
  const checks: Check[] = ids.map((id, i) => ({ key: records.key({ id }), version: found[i]?.version ?? null }));
  const held: ReadonlySet<string | null> = new Set(ids.filter((_, i) => isHeld(found[i] ?? null)));
  const plans = new Map(found.flatMap((record) => record ? [[record.id, record.plan] as const] : []));
  return {
    held,
    checks,
    isLive: (id: string | null) => id !== null && plans.has(id),
    /** Null for the platform and for a deleted tenant. */
    planOf: (id: string | null) => id === null ? null : plans.get(id) ?? null,
  };
}

/** The ids of all tenants under legal hold. */
export async function tenantsOnHold(work: UnitOfWork): Promise<string[]> {
  const held: string[] = [];
  for await (const page of pagesOf(work, [{ field: "metadata", has: "legalHold" }])) {
    held.push(...page.filter(isHeld).map(({ id }) => id));
  }
  return held;
}

/** The ids of all tenants of a plan. */
export async function tenantsOnPlan(work: UnitOfWork, plan: string): Promise<string[]> {
  const ids: string[] = [];
  for await (const page of pagesOf(work, [{ field: "plan", in: [plan] }])) ids.push(...page.map(({ id }) => id));
  return ids;
}

async function* pagesOf(work: UnitOfWork, where: readonly Condition[]): AsyncGenerator<readonly Stored<typeof tenant>[], void, undefined> {
  const records = new Collection(tenant, work.store);
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<typeof records.list>> = await records.list({
      where,
      limit: MAX_PAGE,
      ...(cursor === null ? {} : { cursor }),
    });
    yield page.records;
    cursor = page.cursor;
  } while (cursor !== null);
}

function isHeld(record: Stored<typeof tenant> | null): boolean {
  return record !== null && isUnderLegalHold(record);
}
