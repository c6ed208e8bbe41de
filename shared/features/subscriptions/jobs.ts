import { Collection } from "../../core/collection.ts";
import type { Backlog, Job, JobRun, JobStep } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { type Advanced, BillingRun, dueBy, type DueItem } from "./billing-run.ts";
import { subscription } from "./entity.ts";
import { counted, isContinued, NOTHING, type Tally } from "./tally.ts";

/** Above 200 keys, a commit locks whole families. A step that also changes the tenant locks 12. */
const BLOCK = 16;
/** Steps of one subscription in a visit. What is left, for example after a long downtime, is done by the next runs. */
const MAX_STEPS = 10;

const subscriptions: Job = {
  name: "subscriptions",
  summary: "Ends trials and periods, renews subscriptions, issues their invoices, and follows up unpaid ones.",
  everySeconds: 60,
  backlog,
  step: async ({ work, cursor, limit, dryRun, each }: JobRun): Promise<JobStep> => {
    const until = typeof cursor?.["until"] === "string" ? cursor["until"] : work.now();
    const after = typeof cursor?.["after"] === "string" ? cursor["after"] : null;
    const run = new BillingRun(work, until);
    const page = await run.page(after, limit);
    const done = dryRun ? await preview(run, page.items) : await visit(run, page.items, each);
    return { ...done, cursor: page.cursor === null ? null : { until, after: page.cursor } };
  },
};

/** Does the steps of every item, one after the other, until nothing more is due or an invoice was issued. */
async function visit(run: BillingRun, items: readonly DueItem[], each: JobRun["each"]): Promise<Pick<JobStep, "processed" | "report">> {
  let tally: Tally = NOTHING;
  let processed = 0;
  let left = items;
  for (let steps = 0; steps < MAX_STEPS && left.length > 0; steps++) {
    const advanced: Advanced[] = [];
    const handle = async (some: readonly DueItem[]) => void advanced.push(...await run.advance(some));
    processed += await each(left, (item) => handle([item]), { size: BLOCK, handle });
    tally = advanced.reduce((sum, { step, invoice }) => counted(sum, step, invoice?.total), tally);
    left = advanced.filter(isContinued).map(({ next }) => next);
  }
  return { processed, report: { ...tally } };
}

/** What the first step of every item would do. */
async function preview(run: BillingRun, items: readonly DueItem[]): Promise<Pick<JobStep, "processed" | "report">> {
  let tally: Tally = NOTHING;
  const failing: Record<string, number> = {};
  for (const item of items) {
    try {
      const step = await run.preview(item);
      if (step) tally = counted(tally, step, step.lines.reduce((sum, { amount }) => sum + amount, 0));
    } catch (error) {
      if (!isInnkeepError(error)) throw error;
      failing[error.code] = (failing[error.code] ?? 0) + 1;
    }
  }
  const failed = Object.values(failing).reduce((sum, count) => sum + count, 0);
  return { processed: items.length - failed, report: { ...tally, failing: failed } satisfies JsonObject };
}

async function backlog(work: UnitOfWork): Promise<Backlog> {
  const where = [dueBy(work.now())];
  const [count, oldest] = await Promise.all([
    work.store.count({ entity: subscription, where }),
    new Collection(subscription, work.store).list({ where, orderBy: [{ field: "nextBillingAt", direction: "asc" }], limit: 1 }),
  ]);
  return { count, oldestAt: oldest.records[0]?.nextBillingAt ?? null };
}

export const jobs: readonly Job[] = [subscriptions];
