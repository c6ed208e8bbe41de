import { dueBacklog, duePage } from "../../core/due.ts";
import type { Backlog, Job, JobItem, JobRun } from "../../core/job.ts";
import type { Mailer } from "../../core/mail.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { email, mailing } from "./entity.ts";
import { fanOut } from "./fan-out.ts";
import { type DueEmail, loaded, ownerOf, send } from "./send.ts";

/** Notifications, and mails, of one step. */
const MAX_MAILINGS = 10;
const MAX_EMAILS = 60;
/** Commits for one notification in a step. */
const PAGES = 10;
/** Connections at the same time. */
const SESSIONS = 3;

const emails: Job = {
  name: "emails",
  summary: "Makes the mails of notifications, and sends them.",
  everySeconds: 60,
  uncounted: ["root_key_unavailable"],
  step: async (run) => {
    const { mailer } = run.work.platform;
    if (!mailer) return { processed: 0, cursor: null };
    const made = await makeMails(run);
    const { processed, isAvailable } = await sendMails(run, mailer);
    const goesOn = made + processed > 0 && isAvailable && !run.dryRun;
    return { processed: made + processed, cursor: goesOn ? { goesOn } : null, report: { notifications: made, emails: processed } };
  },
  backlog,
};

async function makeMails(run: JobRun): Promise<number> {
  const { entries } = await duePage({ work: run.work, cursor: null, limit: MAX_MAILINGS }, mailing, "dueAt");
  return await run.each(entries.map(({ key, tenantId }) => ({ id: key, tenantId })), async ({ id }) => {
    for (let pages = 0, more = true; more && pages < PAGES; pages++) more = await fanOut(run.work, id);
  });
}

/** A server that takes no mails is tried by each connection once, and again in the next run. */
async function sendMails(run: JobRun, mailer: Mailer): Promise<{ readonly processed: number; readonly isAvailable: boolean }> {
  const { entries } = await duePage({ work: run.work, cursor: null, limit: MAX_EMAILS }, email, "dueAt");
  const waiting = (await loaded(run.work, entries)).map((due) => ({ id: `email:${due.email.id}`, tenantId: ownerOf(due.email), due }));
  const lanes = Array.from({ length: Math.min(SESSIONS, waiting.length) }, () => lane(run, mailer, waiting));
  const ended = await Promise.all(lanes);
  return {
    processed: ended.reduce((sum, { processed }) => sum + processed, 0),
    isAvailable: ended.every((each) => each.isAvailable),
  };
}

/** Takes mails from the list until it is empty or the server takes none. */
async function lane(run: JobRun, mailer: Mailer, waiting: (JobItem & { readonly due: DueEmail })[]) {
  const session = mailer.open();
  let [processed, isAvailable] = [0, true];
  try {
    for (let item = waiting.shift(); item && isAvailable; item = isAvailable ? waiting.shift() : undefined) {
      processed += await run.each([item], async ({ due }) => {
        isAvailable = await send(run.work, due, mailer, session);
      });
    }
  } finally {
    await session.close();
  }
  return { processed, isAvailable };
}

async function backlog(work: UnitOfWork): Promise<Backlog> {
  if (!work.platform.mailer) return { count: 0, oldestAt: null };
  const all = await Promise.all([dueBacklog(work, mailing, "dueAt"), dueBacklog(work, email, "dueAt")]);
  const [oldestAt = null] = all.map((each) => each.oldestAt).filter((at) => at !== null).sort();
  return { count: all.reduce((sum, { count }) => sum + count, 0), oldestAt };
}

export const jobs: readonly Job[] = [emails];
