import { Collection, type Stored } from "../../core/collection.ts";
import type { Job } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { loadIds, newNonce } from "../../kernel/ids.ts";
import { type Schedule, schedule } from "./entity.ts";
import * as rules from "./rules.ts";

export type StoredSchedule = Stored<typeof schedule>;
/** A job that this process may run until its lease ends. */
export interface Claimed {
  readonly job: Job;
  readonly held: StoredSchedule;
}
/** The version of a schedule that is not stored yet. */
const UNSAVED = "";

/** The schedules of jobs, and their leases. */
export class Schedules {
  readonly #records: Collection<typeof schedule>;

  constructor(private readonly work: UnitOfWork) {
    this.#records = new Collection(schedule, work.store);
  }

  /** In the order of the jobs; null for a job that has never run. */
  async ofJobs(jobs: readonly Job[]): Promise<(StoredSchedule | null)[]> {
    return await this.#records.getMany(jobs.map(({ name }) => this.#records.key({ job: name })));
  }

  /** The schedules of the jobs that are due, without claiming them. */
  async due(jobs: readonly Job[]): Promise<Claimed[]> {
    const nowMs = this.work.context.clock.now();
    const known = await this.ofJobs(jobs);
    return jobs.map((job, i) => ({ job, held: known[i] ?? this.unsaved(job) })).filter(({ job, held }) => rules.isDue(held, job, nowMs));
  }

  /**
   * Claims the jobs that are due, in the order of their times. Jobs that have never run, or whose time was set by a clock that was
   * ahead, are not found by time: they are claimed one by one.
   */
  async claimDue(jobs: readonly Job[]): Promise<Claimed[]> {
    await loadIds();
    const nowMs = this.work.context.clock.now();
    const [claimed, known] = await Promise.all([this.#claim(jobs, nowMs), this.ofJobs(jobs)]);
    const taken = claimed.flatMap((held) => jobs.filter(({ name }) => name === held.job).map((job) => ({ job, held })));
    for (const [i, job] of jobs.entries()) {
      const found = known[i] ?? null;
      if (found && !rules.isBeyondReach(found, job, nowMs)) continue;
      const held = await this.claim(found ?? this.unsaved(job));
      if (held) taken.push({ job, held });
    }
    return taken;
  }

  /** Of this program's jobs only: a newer program may have others. */
  async #claim(jobs: readonly Job[], nowMs: number): Promise<StoredSchedule[]> {
    if (jobs.length === 0) return [];
    const entries = await this.work.store.claim({
      entity: schedule,
      due: "dueAt",
      until: isoTime(nowMs + rules.LEASE_MS),
      set: { leaseId: newNonce(), updatedAt: isoTime(nowMs) },
      where: [{ field: "job", in: jobs.map(({ name }) => name) }],
      limit: jobs.length,
    });
    return entries.map((entry) => rules.begun(this.#records.read(entry), nowMs));
  }

  unsaved(job: Job): StoredSchedule {
    return { ...rules.firstSchedule(job, this.work.now()), version: UNSAVED } as StoredSchedule;
  }

  /** Claims one job, due or not. Null if another process changed its schedule at the same moment. */
  async claim(found: StoredSchedule): Promise<StoredSchedule | null> {
    await loadIds();
    return await this.save(found, rules.leased(found, newNonce(), this.work.context.clock.now()));
  }

  /** Writes the schedule if it still has its version. Null if another process changed it: the lease is lost. */
  async save(before: StoredSchedule, after: Schedule): Promise<StoredSchedule | null> {
    const record = { ...after, updatedAt: this.work.now() };
    const { result, version } = await this.work.transact(async () => {
      const found = await this.#records.get(after.job);
      if ((found?.version ?? UNSAVED) !== before.version) return { done: { saved: false }, resultOf: null };
      return {
        commit: { changes: [{ entity: schedule, before: found, after: record }], audit: "none", result: { saved: true } },
        resultOf: null,
      };
    });
    return result.saved && version !== null ? { ...record, version } as StoredSchedule : null;
  }
}
