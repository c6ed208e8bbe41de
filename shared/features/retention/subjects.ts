import { Collection } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { tenant } from "../tenants/entity.ts";
import type { KeepRule, Task } from "./rules.ts";
import { tenantsOnHold, tenantsOnPlan } from "./tenants.ts";

/** What is old by one rule. Without a tenant: of everybody, but for those who have rules of their own. */
export interface Old {
  step(task: Task, limit: number, tenantId?: string): Promise<Task>;
  count(held: ReadonlySet<string>, tenantId: string): Promise<Counts>;
  countAll(held: ReadonlySet<string>, others: readonly string[]): Promise<Counts>;
}

export interface Counts {
  /** Records that are old enough. */
  readonly scanned: number;
  readonly deleted: number;
}

/** Queries that count at the same time. */
const AT_ONCE = 20;

/** The counts of all items together. */
export async function sumOf<T>(items: readonly T[], count: (item: T) => Promise<Counts>): Promise<Counts> {
  let sum: Counts = { scanned: 0, deleted: 0 };
  for (let at = 0; at < items.length; at += AT_ONCE) {
    for (const one of await Promise.all(items.slice(at, at + AT_ONCE).map(count))) {
      sum = { scanned: sum.scanned + one.scanned, deleted: sum.deleted + one.deleted };
    }
  }
  return sum;
}

/** Tenants of one page, of which a step handles as many as fit. */
const PAGE_TENANTS = 20;

/** One step of a rule. The task is done when nothing is left that the rule is for. */
export async function stepOf(work: UnitOfWork, rule: KeepRule, old: Old, task: Task, limit: number): Promise<Task> {
  if (rule.subject === "all") return await old.step(task, limit);
  if (rule.subject === "tenant") return await old.step(task, limit, rule.name);
  return await stepOfPlan(work, rule.name, old, task, limit);
}

/** Where a step among the tenants of a plan stopped: the page of tenants, the last complete one, the next, and the cursor within it. */
type Position = readonly [page: string | null, complete: string | null, current: string | null, inner: string | null];

async function stepOfPlan(work: UnitOfWork, plan: string, old: Old, task: Task, limit: number): Promise<Task> {
  const [page, complete, current, inner] = (task.after === null ? [null, null, null, null] : JSON.parse(task.after)) as Position;
  const { records, cursor } = await new Collection(tenant, work.store).list({
    where: [{ field: "plan", in: [plan] }],
    orderBy: [{ field: "createdAt", direction: "asc" }],
    limit: PAGE_TENANTS,
    ...(page === null ? {} : { cursor: page }),
  });
  const at = (...position: Position) => JSON.stringify(position);
  let now = task;
  let last = complete;
  // If the last complete tenant left the plan meanwhile, the page is repeated.
  for (const { id } of records.slice(records.findIndex((record) => record.id === complete) + 1)) {
    const begun = id === current ? { after: inner, cutoff: task.cutoff } : { after: null, cutoff: null };
    now = await old.step({ ...now, ...begun }, limit, id);
    if (!now.isDone) return { ...now, after: at(page, last, id, now.after) };
    last = id;
    now = { ...now, cutoff: null, isDone: false };
    if (now.scanned - task.scanned >= limit) return { ...now, after: at(page, last, null, null) };
  }
  return cursor === null ? { ...now, after: null, isDone: true } : { ...now, after: at(cursor, null, null, null) };
}

/** What a run would delete by the rule. */
export async function countOf(work: UnitOfWork, rule: KeepRule, rules: readonly KeepRule[], old: Old): Promise<Counts> {
  const held = new Set(await tenantsOnHold(work));
  const named = rules.filter(({ subject }) => subject === "tenant").map(({ name }) => name);
  const isNamed = new Set(named);
  if (rule.subject === "tenant") return await old.count(held, rule.name);
  const onPlans = async (plans: readonly KeepRule[]) => {
    const ids: string[] = [];
    for (const { name } of plans) ids.push(...(await tenantsOnPlan(work, name)).filter((id) => !isNamed.has(id)));
    return ids;
  };
  if (rule.subject === "all") {
    return await old.countAll(held, [
      ...named,
      ...await onPlans(rules.filter(({ subject }) => subject === "plan")),
    ]);
  }
  return await sumOf(await onPlans([rule]), async (id) => await old.count(held, id));
}
