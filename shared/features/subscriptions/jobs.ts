import { dueBacklog, duePage, dueUntil } from "../../core/due.ts";
import type { Job, JobRun, JobStep } from "../../core/job.ts";
import { isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { type Advanced, BillingRun, type DueItem } from "./billing-run.ts";
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
  backlog: (work) => dueBacklog(work, subscription, "nextBillingAt"),
  step: async (job: JobRun): Promise<JobStep> => {
    const run = new BillingRun(job.work, dueUntil(job));
    const { entries, cursor } = await duePage(job, subscription, "nextBillingAt");
    const items = await run.itemsOf(entries);
    return { ...(job.dryRun ? await preview(run, items) : await visit(run, items, job.each)), cursor };
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

export const jobs: readonly Job[] = [subscriptions];
