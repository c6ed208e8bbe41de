import { Collection } from "../../core/collection.ts";
import { dueBacklog, duePage } from "../../core/due.ts";
import type { Job, JobItem, JobRun, JobStep } from "../../core/job.ts";
import { periodOf } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { keyOf, matchKey } from "../../kv/define.ts";
import { LIMITS } from "../../kv/store.ts";
import { alert } from "../alerts/entity.ts";
import { tenant } from "../tenants/entity.ts";
import { usageChange, usageMonth } from "./entity.ts";
import { settleUsage } from "./settle.ts";

/** Above 200 keys, a commit locks whole families. */
const BLOCK = 100;
const MONTH = "current";

/** The usage of a tenant in a month. */
interface Place extends JobItem {
  readonly tenantId: string;
  readonly period: string;
}

/** The parts of a run, in this order. Each returns the cursor of its next step, or null at its end. */
const PARTS = { marks: settleMarked, ended: resolveEnded, month: beginMonth } as const;
type Part = keyof typeof PARTS;
const NEXT: Readonly<Record<Part, Part | null>> = { marks: "ended", ended: "month", month: null };

const usage: Job = {
  name: "usage",
  summary: "Writes usagePercent, usage alerts and usage levels of the tenants whose usage changed, and of all tenants when a month begins.",
  everySeconds: 60,
  backlog: (work) => dueBacklog(work, usageChange, "until"),
  step: async (run) => {
    const { part: named, ...at } = run.cursor ?? {};
    const part: Part = named === "ended" || named === "month" ? named : "marks";
    const { processed, cursor } = await PARTS[part]({ ...run, cursor: Object.keys(at).length > 0 ? at : null });
    const next = cursor ? { part, ...cursor } : NEXT[part] && { part: NEXT[part] };
    return { processed, cursor: next, report: { [part]: processed } };
  },
};

/** Settles what is marked, and deletes the marks that have ended. */
async function settleMarked(run: JobRun): Promise<JobStep> {
  const page = await run.work.store.list({ prefix: "usagechange", limit: run.limit, keysOnly: true, ...after(run.cursor) });
  const places = page.entries.map(({ key }) => ({ id: key, ...matchKey(usageChange, key) } as Place));
  return { processed: await settleEach(run, places), cursor: page.cursor === null ? null : { after: page.cursor } };
}

/** Resolves the alerts of months that have ended. */
async function resolveEnded(run: JobRun): Promise<JobStep> {
  const { entries, cursor } = await duePage(run, alert, "openUntil");
  const places = entries.map(({ key, tenantId, value }) => ({ id: key, tenantId, period: (value as JsonObject)["period"] } as Place));
  return { processed: await settleEach(run, places), cursor };
}

async function settleEach(run: JobRun, places: readonly Place[]): Promise<number> {
  return await run.each(places, ({ tenantId, period }) => settleUsage(run.work, tenantId, period, { endsMark: true }));
}

/** Marks every tenant when the month is another one than that of the last run. The next run settles them. */
async function beginMonth(run: JobRun): Promise<JobStep> {
  const { work, cursor } = run;
  const period = typeof cursor?.["period"] === "string" ? cursor["period"] : periodOf(work.context.clock.now());
  const months = new Collection(usageMonth, work.store);
  if (cursor === null && (await months.get(MONTH))?.period === period) return { processed: 0, cursor: null };
  const page = await work.store.list({ prefix: "tenant", limit: LIMITS.pageEntries, keysOnly: true, ...after(cursor) });
  const places = page.entries.map(({ key }) => {
    const { id: tenantId = "" } = matchKey(tenant, key) ?? {};
    return { id: keyOf(usageChange, { tenantId, period }), tenantId, period };
  });
  const mark = async (some: readonly Place[]) => await markAll(work, some);
  const processed = await run.each(places, (place) => mark([place]), { size: BLOCK, handle: mark });
  if (page.cursor === null && !run.dryRun) await keepMonth(work, period);
  return { processed, cursor: page.cursor === null ? null : { period, after: page.cursor } };
}

/** Marks tenants that have no mark. No count depends on these marks, so they end at once. */
async function markAll(work: UnitOfWork, places: readonly Place[]): Promise<void> {
  const marks = new Collection(usageChange, work.store);
  await work.transact(async () => {
    const known = await work.store.mget(places.map((place) => marks.key(place)));
    const missing = places.filter((_, i) => !known[i]);
    const until = work.now();
    const changes = missing.map(({ tenantId, period }) => ({ entity: usageChange, before: null, after: { tenantId, period, until } }));
    return changes.length > 0 ? { commit: { changes, audit: "none", result: {} }, resultOf: null } : { done: {}, resultOf: null };
  });
}

async function keepMonth(work: UnitOfWork, period: string): Promise<void> {
  const months = new Collection(usageMonth, work.store);
  await work.transact(async () => {
    const before = await months.get(MONTH);
    const after = { id: MONTH, period, updatedAt: work.now() } as const;
    return { commit: { changes: [{ entity: usageMonth, before, after }], audit: "none", result: {} }, resultOf: null };
  });
}

function after(cursor: JsonObject | null): { readonly cursor?: string } {
  const at = cursor?.["after"];
  return typeof at === "string" ? { cursor: at } : {};
}

export const jobs: readonly Job[] = [usage];
