import { Collection, type Stored } from "../../core/collection.ts";
import type { Job } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { InnkeepError, isInnkeepError } from "../../kernel/errors.ts";
import { loadIds, newNonce } from "../../kernel/ids.ts";
import type { Entry } from "../../kv/store.ts";
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
    const entries = await this.work.store.mget(jobs.map(({ name }) => this.#records.key({ job: name })));
    return jobs.map((job, i) => this.#readIfAny(job, entries[i] ?? null));
  }

  /** The schedules of the jobs that are due, without claiming them. */
  async due(jobs: readonly Job[]): Promise<Claimed[]> {
    const known = await this.ofJobs(jobs);
    return jobs.map((job, i) => ({ job, held: known[i] ?? this.unsaved(job) })).filter(({ job, held }) => this.#isDue(held, job));
  }

  /**
   * Claims the jobs that are due, in the order of their times. Not found by time, and claimed one by one: jobs that have never run,
   * whose time was set by a clock that was ahead, or whose schedule is damaged.
   */
  async claimDue(jobs: readonly Job[]): Promise<Claimed[]> {
    await loadIds();
    const [claimed, known] = await Promise.all([this.#claim(jobs, this.work.context.clock.now()), this.ofJobs(jobs)]);
    const taken = [...claimed];
    for (const [i, job] of jobs.entries()) {
      const found = known[i] ?? this.unsaved(job);
      if (claimed.some((each) => each.job === job) || !this.#isDue(found, job)) continue;
      const held = await this.claim(found);
      if (held) taken.push({ job, held });
    }
    return taken;
  }

  /** Read the clock again: a schedule that begins anew is due from the moment at which it was read. */
  #isDue(found: StoredSchedule, job: Job): boolean {
    return rules.isDue(found, job, this.work.context.clock.now());
  }

  /** Of this program's jobs only: a newer program may have others. */
  async #claim(jobs: readonly Job[], nowMs: number): Promise<Claimed[]> {
    if (jobs.length === 0) return [];
    const leaseId = newNonce();
    const entries = await this.work.store.claim({
      entity: schedule,
      due: "dueAt",
      until: isoTime(nowMs + rules.LEASE_MS),
      set: { leaseId, updatedAt: isoTime(nowMs) },
      where: [{ field: "job", in: jobs.map(({ name }) => name) }],
      limit: jobs.length,
    });
    return entries.flatMap((entry) =>
      jobs.filter(({ name }) => this.#records.key({ job: name }) === entry.key)
        .map((job) => ({ job, held: rules.leased(this.#readOrNew(job, entry), leaseId, nowMs) }))
    );
  }

  /**
   * A schedule that was damaged, for example by a change in the database, must not stop the other jobs: its job begins anew, and the
   * record is replaced.
   */
  #readOrNew(job: Pick<Job, "name">, entry: Entry): StoredSchedule {
    try {
      const read = this.#records.read(entry);
      if (read.job !== job.name) throw new InnkeepError("internal", `The stored schedule ${entry.key} is that of another job.`);
      return read;
    } catch (error) {
      if (!isInnkeepError(error, "internal")) throw error;
      this.work.platform.logger.error("schedule_invalid", { job: job.name, reason: error.message });
      return { ...rules.firstSchedule(job, this.work.now()), version: entry.version } as StoredSchedule;
    }
  }

  #readIfAny(job: Pick<Job, "name">, entry: Entry | null): StoredSchedule | null {
    return entry && this.#readOrNew(job, entry);
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
      const found = this.#readIfAny({ name: after.job }, await this.work.store.get(this.#records.key(after)));
      if ((found?.version ?? UNSAVED) !== before.version) return { done: { saved: false }, resultOf: null };
      return {
        commit: { changes: [{ entity: schedule, before: found, after: record }], audit: "none", result: { saved: true } },
        resultOf: null,
      };
    });
    return result.saved && version !== null ? { ...record, version } as StoredSchedule : null;
  }
}
