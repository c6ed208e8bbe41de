import { Collection } from "../../core/collection.ts";
import type { Job, JobItem, JobRun, JobStep } from "../../core/job.ts";
import { closesAt, isPeriod } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { deadLetter } from "../jobs/entity.ts";
import { catalogueOf } from "../metrics/catalogue.ts";
import { subscription } from "../subscriptions/entity.ts";
import { OverageBilling } from "./billing.ts";
import { closeMonth } from "./changes.ts";
import { closing } from "./entity.ts";
import { nextToClose } from "./rules.ts";

const NAME = "closings";

interface BilledItem extends JobItem {
  readonly period: string;
  readonly tenantId: string;
}

/** The newest month that the job has closed; null before the first. */
async function lastClosed({ store }: UnitOfWork): Promise<string | null> {
  const { records: [last] } = await new Collection(closing, store).list({ orderBy: [{ field: "period", direction: "desc" }], limit: 1 });
  return last?.period ?? null;
}

/** The metrics whose usage above the limit is billed. */
async function billedMetrics(work: UnitOfWork): Promise<string[]> {
  return [...(await catalogueOf(work)).values()].filter(({ policy }) => policy === "overage").map(({ id }) => id);
}

/** First the items that failed before, then one month after the other: pages of all subscriptions, in the order of their keys. */
async function step(run: JobRun): Promise<JobStep> {
  const { period, after, retried } = run.cursor ?? {};
  if (run.cursor === null || typeof retried === "string") return await retryStep(run, typeof retried === "string" ? retried : undefined);
  if (typeof period === "string") return await monthStep(run, period, typeof after === "string" ? after : undefined);
  const next = nextToClose(await lastClosed(run.work), run.work.context.clock.now());
  return next === null ? { processed: 0, cursor: null } : await monthStep(run, next, undefined);
}

async function retryStep(run: JobRun, cursor: string | undefined): Promise<JobStep> {
  const where = [{ field: "job", in: [NAME] }, { field: "status", in: ["retrying"] }];
  const page = await new Collection(deadLetter, run.work.store).list({
    where,
    limit: run.limit,
    ...(cursor === undefined ? {} : { cursor }),
  });
  const items = page.records.flatMap(({ item }) => itemOf(item));
  return { processed: await billed(run, items), cursor: page.cursor === null ? {} : { retried: page.cursor } };
}

/** A page of the month. After the last one, the month is recorded as closed. */
async function monthStep(run: JobRun, period: string, after: string | undefined): Promise<JobStep> {
  const metrics = await billedMetrics(run.work);
  const page = metrics.length === 0
    ? { entries: [], cursor: null }
    : await run.work.store.list({ prefix: "subscription", limit: run.limit, ...(after === undefined ? {} : { cursor: after }) });
  const billing = new OverageBilling(run.work, period, metrics);
  const subscriptions = new Collection(subscription, run.work.store);
  const items = await Promise.all(page.entries.map(async (entry) => {
    const record = subscriptions.readIfValid(entry);
    // One that cannot be read fails as an item, and the others are billed.
    const isConcerned = record === null || await billing.concerns(record).catch(() => true);
    return isConcerned && entry.tenantId !== null ? itemOf(`${period}:${entry.tenantId}`) : [];
  }));
  const processed = await billed(run, items.flat());
  if (page.cursor !== null) return { processed, cursor: { period, after: page.cursor } };
  if (!run.dryRun) await closeMonth(run.work, period, metrics);
  return { processed, cursor: run.dryRun ? null : {}, report: { months: 1 } };
}

async function billed(run: JobRun, items: readonly BilledItem[]): Promise<number> {
  const metrics = items.length === 0 ? [] : await billedMetrics(run.work);
  return await run.each(items, ({ period, tenantId }) => new OverageBilling(run.work, period, metrics).bill(tenantId));
}

function itemOf(id: string): BilledItem[] {
  const [period = "", tenantId = ""] = id.split(":");
  return isPeriod(period) && tenantId !== "" ? [{ id, period, tenantId }] : [];
}

const closings: Job = {
  name: NAME,
  summary: "Closes a month 3 days after its end, and bills the usage above the limits.",
  everySeconds: 3_600,
  step,
  backlog: async (work) => {
    const due = nextToClose(await lastClosed(work), work.context.clock.now());
    return { count: due === null ? 0 : 1, oldestAt: due === null ? null : closesAt(due) };
  },
};

export const jobs: readonly Job[] = [closings];
