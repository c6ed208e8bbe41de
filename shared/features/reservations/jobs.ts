import { dueBacklog, duePage } from "../../core/due.ts";
import type { Job } from "../../core/job.ts";
import { reservation } from "./entity.ts";
import { releaseExpired } from "./expiry.ts";

/** Reservations that one commit releases. */
const BLOCK = 20;
const HELD = [{ field: "status", in: ["held"] }];

const expired: Job = {
  name: "reservations",
  summary: "Releases reservations that have expired.",
  everySeconds: 60,
  step: async (run) => {
    const { entries, cursor } = await duePage(run, reservation, "expiresAt", HELD);
    const items = entries.map(({ key, tenantId }) => ({ id: key, tenantId }));
    const release = (some: readonly { readonly id: string }[]) => releaseExpired(run.work, some.map(({ id }) => id));
    return { processed: await run.each(items, (item) => release([item]), { size: BLOCK, handle: release }), cursor };
  },
  backlog: (work) => dueBacklog(work, reservation, "expiresAt", HELD),
};

export const jobs: readonly Job[] = [expired];
