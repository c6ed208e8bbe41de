import type { Job, JobItem, JobRun } from "../../../shared/core/job.ts";
import { createBackend } from "../../../shared/container.ts";
import { DeadLetterService } from "../../../shared/features/jobs/dead-letters.ts";
import { latenessOf } from "../../../shared/features/jobs/lateness.ts";
import { JobService } from "../../../shared/features/jobs/service.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import { type Logger, silentLogger } from "../../../shared/kernel/logger.ts";
import type { Store } from "../../../shared/kv/store.ts";
import type { OpenStore } from "../../support/store.ts";
import { KEYS } from "../../support/test-context.ts";

/** Counts the items of a list; each item's effect is one commit that is safe to repeat. */
export function counting(name: string, items: readonly string[], handle: (item: JobItem) => Promise<void> = () => Promise.resolve()): Job {
  return {
    name,
    summary: "Counts.",
    everySeconds: 3_600,
    step: async ({ cursor, limit, each, work, dryRun }: JobRun) => {
      const from = Number(cursor?.["from"] ?? 0);
      const page = items.slice(from, from + limit).map((id) => ({ id, tenantId: null }));
      const processed = await each(page, async (item) => {
        await handle(item);
        const key = `counted:${name}:${item.id}`;
        if (!dryRun) await work.store.commit([{ key, version: null }], [{ op: "set", key, value: 1 }]);
      });
      return { processed, cursor: from + limit < items.length ? { from: from + limit } : null, report: { seen: page.length } };
    },
    backlog: async ({ store }) => {
      const left = items.length - await store.count(`counted:${name}`);
      return { count: left, oldestAt: left > 0 ? "2026-03-01T00:00:00.000Z" : null };
    },
  };
}

export const ids = (count: number, prefix = "i") => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

/** The services of one process that has these jobs. */
export function processOf(
  { clock, store }: Pick<OpenStore, "clock" | "store">,
  jobs: readonly Job[],
  { over = store, logger = silentLogger }: { readonly over?: Store; readonly logger?: Logger } = {},
) {
  const backend = createBackend({ store: over, clock, logger, ...KEYS, jobs: () => Promise.resolve(jobs) });
  const work = backend.bind(systemContext(clock, "req_jobs", "jobs"));
  return { jobs: new JobService(work), dead: new DeadLetterService(work), lateness: () => latenessOf(work) };
}
