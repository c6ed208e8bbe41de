import { dueBacklog } from "../../core/due.ts";
import type { Backlog, Job } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { unnumbered } from "../events/sequence.ts";
import { DeliveryRun } from "./deliver.ts";
import { secretJob } from "./due.ts";
import { webhook, webhookReplay } from "./entity.ts";
import { UNREADABLE } from "./secret.ts";

/** The scheduler calls the job every few seconds. If it calls only `POST /jobs`, the job runs every minute. */
const deliver: Job = {
  name: "webhooks",
  summary: "Numbers outgoing events, and sends them to the webhooks that want them.",
  everySeconds: 60,
  uncounted: UNREADABLE,
  step: async (run) => {
    if (run.dryRun) return { processed: (await waiting(run.work)).count, cursor: null };
    const { events, requests, succeeded, inFlight, rest } = await new DeliveryRun(run).deliver();
    const report = { events, succeeded, failed: requests - succeeded - inFlight, inFlight };
    return { processed: requests, cursor: null, report, rest };
  },
  backlog: waiting,
};

/** Events without a number, webhooks with due deliveries, and replays. */
async function waiting(work: UnitOfWork): Promise<Backlog> {
  const all = await Promise.all([unnumbered(work), dueBacklog(work, webhook, "dueAt"), dueBacklog(work, webhookReplay, "dueAt")]);
  const [oldestAt = null] = all.map((each) => each.oldestAt).filter((at) => at !== null).sort();
  return { count: all.reduce((sum, { count }) => sum + count, 0), oldestAt };
}

export const jobs: readonly Job[] = [deliver, secretJob];
