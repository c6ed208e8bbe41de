import { Collection, type RecordPage, type Stored } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isSegment } from "../../kv/key.ts";
import type { Check, Condition, Entry, ListPage } from "../../kv/store.ts";
import { legalHold } from "../legal-holds/entity.ts";
import { tenant } from "../tenants/entity.ts";
import { isUnderLegalHold } from "../tenants/rules.ts";

const MAX_PAGE = 500;

/**
 * The tenants of the entries: which are under legal hold, their plans, and checks that none of them changes before the commit. A tenant
 * whose record cannot be read counts as held: its hold is not known, and it must not stop the retention of others.
 */
export async function tenantsOf(work: UnitOfWork, entries: readonly Pick<Entry, "tenantId">[]) {
  const records = new Collection(tenant, work.store);
  const all = [...new Set(entries.map(({ tenantId }) => tenantId))].filter((id) => id !== null);
  const ids = all.filter(isSegment);
  const found = await work.store.mget(ids.map((id) => records.key({ id })));
  const read = found.map((entry) => entry && records.readIfValid(entry));
  const checks: Check[] = ids.map((id, i) => ({ key: records.key({ id }), version: found[i]?.version ?? null }));
  const isHeld = (i: number) => found[i] ? isHeldBy(read[i] ?? null) : false;
  const held: ReadonlySet<string | null> = new Set([...all.filter((id) => !isSegment(id)), ...ids.filter((_, i) => isHeld(i))]);
  const live = new Set(ids.filter((_, i) => found[i]));
  const plans = new Map(read.flatMap((record) => record ? [[record.id, record.plan] as const] : []));
  return {
    held,
    checks,
    isLive: (id: string | null) => id !== null && live.has(id),
    /** Null for the platform and for a deleted tenant. */
    planOf: (id: string | null) => id === null ? null : plans.get(id) ?? null,
  };
}

/** The ids of all tenants under legal hold. */
export async function tenantsOnHold(work: UnitOfWork): Promise<string[]> {
  const held: string[] = [];
  for await (const page of pagesOf(work, [{ field: "metadata", has: "legalHold" }])) {
    held.push(...page.filter(({ record }) => isHeldBy(record)).map(({ id }) => id));
  }
  return [...new Set([...held, ...await tenantsOfHolds(work)])];
}

/** The ids of the tenants that active legal holds name, or extend to. */
async function tenantsOfHolds({ store }: UnitOfWork): Promise<string[]> {
  const holds = new Collection(legalHold, store);
  const held: string[] = [];
  let cursor: string | null = null;
  do {
    const where = [{ field: "status", in: ["active"] }];
    const page: RecordPage<typeof legalHold> = await holds.list({ where, limit: MAX_PAGE, ...(cursor === null ? {} : { cursor }) });
    held.push(...page.records.flatMap(({ tenantId, tenants = [] }) => tenantId ?? tenants));
    cursor = page.cursor;
  } while (cursor !== null);
  return held;
}

/** The ids of all tenants of a plan. */
export async function tenantsOnPlan(work: UnitOfWork, plan: string): Promise<string[]> {
  const ids: string[] = [];
  for await (const page of pagesOf(work, [{ field: "plan", in: [plan] }])) ids.push(...page.map(({ id }) => id));
  return ids;
}

/** A page of tenants. `record` is null if it cannot be read. */
type Page = readonly { readonly id: string; readonly record: Stored<typeof tenant> | null }[];

async function* pagesOf(work: UnitOfWork, where: readonly Condition[]): AsyncGenerator<Page, void, undefined> {
  const records = new Collection(tenant, work.store);
  let cursor: string | null = null;
  do {
    const page: ListPage = await work.store.query({ entity: tenant, where, limit: MAX_PAGE, ...(cursor === null ? {} : { cursor }) });
    yield page.entries.map((entry) => ({ id: entry.tenantId ?? "", record: records.readIfValid(entry) }));
    cursor = page.cursor;
  } while (cursor !== null);
}

function isHeldBy(record: Stored<typeof tenant> | null): boolean {
  return record === null || isUnderLegalHold(record);
}
