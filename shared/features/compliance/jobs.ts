import { Collection } from "../../core/collection.ts";
import type { Job, JobItem } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { checkReceipts, waitingErasures } from "../erasures/receipts.ts";
import { complianceRequest, deletionCertificate } from "./entity.ts";
import { Handler } from "./handler.ts";

/** Requests of one step of the job. */
const MAX_REQUESTS = 10;
/** Commits for one request in a step of the job. */
const STEPS = 20;

function due({ context: { clock } }: UnitOfWork) {
  return [{ field: "status", in: ["pending", "processing"] }, { field: "runAt", to: isoTime(clock.now() + 1) }];
}

/** The requests whose time has come, those that wait longest first. */
async function waiting(work: UnitOfWork) {
  const orderBy = [{ field: "runAt", direction: "asc" }] as const;
  return (await new Collection(complianceRequest, work.store).list({ where: due(work), orderBy, limit: MAX_REQUESTS })).records;
}

/** Deletions that were made and whose certificate is not signed. */
async function uncertified({ store }: UnitOfWork) {
  const where = [{ field: "status", in: ["unsigned"] }];
  return (await new Collection(deletionCertificate, store).list({ where, limit: MAX_REQUESTS })).records;
}

function itemOf(tenantId: string, id: string): JobItem {
  return { id: `compliance:${tenantId}:${id}`, tenantId };
}

const compliance: Job = {
  name: "compliance",
  summary: "Answers the requests under data protection law that the program can answer: exports, and deletions with their certificates. " +
    "Records which webhooks have acknowledged the erasure of a person.",
  everySeconds: 60,
  uncounted: ["root_key_unavailable"],
  step: async (run) => {
    const [open, deleted, erasures] = await Promise.all([waiting(run.work), uncertified(run.work), waitingErasures(run.work)]);
    const handler = new Handler(run.work);
    const items = [
      ...deleted.map(({ deletedTenant, requestId }) => itemOf(deletedTenant, requestId)),
      ...open.map(({ tenantId, id }) => itemOf(tenantId, id)),
    ];
    const announced = erasures.map(({ id }) => ({ id: `erasure:${id}`, tenantId: null }));
    const handled = await run.each(items, ({ id }) => handler.run(id, STEPS)) +
      await run.each(announced, ({ id }) => checkReceipts(run.work, id));
    const report = { requests: items.length, erasures: announced.length };
    return { processed: handled, cursor: handled === 0 || run.dryRun ? null : { goesOn: true }, report };
  },
  backlog: async (work) => {
    const [[oldest], count] = await Promise.all([waiting(work), work.store.count({ entity: complianceRequest, where: due(work) })]);
    return { count, oldestAt: oldest?.runAt ?? null };
  },
};

export const jobs: readonly Job[] = [compliance];
