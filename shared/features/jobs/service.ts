import { Collection, type Stored } from "../../core/collection.ts";
import type { Backlog, Job } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { randomFraction } from "../../kernel/backoff.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { loadIds, newNonce } from "../../kernel/ids.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { type Schedule, schedule } from "./entity.ts";
import * as rules from "./rules.ts";
import { type Budget, CALL_BUDGET, type ItemError, ItemRunner, STEP_ITEMS } from "./run.ts";

type StoredSchedule = Stored<typeof schedule>;
/** The version of a schedule that is not stored yet. */
const UNSAVED = "";

/** The result of one call of a job. */
export interface JobReport {
  readonly job: string;
  /** When the call began, ISO. */
  readonly started: string;
  readonly durationMs: number;
  /** Items of this call. */
  readonly processed: number;
  /** Whether the run has ended. If not, the next call continues it. */
  readonly complete: boolean;
  /** The number of waiting items; null for a job that does not count them. */
  readonly remaining: number | null;
  readonly errors: readonly ItemError[];
  readonly dryRun: boolean;
  readonly report: JsonObject;
}

export interface JobState {
  readonly name: string;
  readonly summary: string;
  readonly everySeconds: number;
  readonly running: boolean;
  readonly nextRunAt: string;
  readonly lastStartedAt: string | null;
  readonly lastFinishedAt: string | null;
  readonly lastDurationMs: number | null;
  readonly lastProcessed: number | null;
  readonly lastError: { readonly code: string; readonly message: string } | null;
  readonly failures: number;
  readonly backlog: Backlog | null;
}

export interface RunOptions {
  readonly dryRun?: boolean;
  readonly budget?: Budget;
}

/** The background jobs of all features: their schedules, runs and dead letters. */
export class JobService {
  readonly #schedules: Collection<typeof schedule>;

  constructor(private readonly work: UnitOfWork) {
    this.#schedules = new Collection(schedule, work.store);
  }

  /** Every job with its schedule and what waits for it. */
  async list(): Promise<JobState[]> {
    const jobs = await this.#jobs();
    const [schedules, backlogs] = await Promise.all([
      this.#schedules.getMany(jobs.map(({ name }) => this.#schedules.key({ job: name }))),
      Promise.all(jobs.map(({ backlog }) => backlog?.(this.work) ?? null)),
    ]);
    return jobs.map((job, i) => stateOf(job, schedules[i] ?? null, backlogs[i] ?? null, this.work.now()));
  }

  /** Runs the jobs that are due, one after the other. A job that another process runs is left to it. */
  async runDue(options: RunOptions = {}): Promise<JobReport[]> {
    const reports: JobReport[] = [];
    for (const job of await this.#jobs()) {
      const current = await this.#schedule(job);
      if (!rules.isDue(current, this.work.now())) continue;
      const report = await this.#run(job, current, options);
      if (report) reports.push(report);
    }
    return reports;
  }

  /** Runs a job now, due or not. Throws `not_found`, and `job_running` while another process runs it. */
  async run(name: string, options: RunOptions = {}): Promise<JobReport> {
    const jobs = await this.#jobs();
    const job = jobs.find((each) => each.name === name);
    if (!job) {
      throw new InnkeepError(
        "not_found",
        `There is no job of this name. The jobs are: ${jobs.map((each) => each.name).join(", ")}.`,
      );
    }
    const current = await this.#schedule(job);
    const report = options.dryRun || !rules.isLeased(current, this.work.now()) ? await this.#run(job, current, options) : null;
    if (!report) throw new InnkeepError("job_running", `Another process is running the job ${name}. Wait until it ends.`);
    return report;
  }

  async #schedule(job: Job): Promise<StoredSchedule> {
    return await this.#schedules.get(job.name) ?? { ...rules.firstSchedule(job, this.work.now()), version: UNSAVED } as StoredSchedule;
  }

  /** Null if another process claimed the job at the same moment. */
  async #run(job: Job, current: StoredSchedule, { dryRun = false, budget = CALL_BUDGET }: RunOptions): Promise<JobReport | null> {
    const { clock } = this.work.context;
    const startedMs = clock.now();
    const started = this.work.now();
    await loadIds();
    const held = dryRun ? current : await this.#save(current, rules.leased(current, newNonce(), startedMs));
    if (!held) return null;
    const items = new ItemRunner(job.name, this.work, dryRun);
    const done = await this.#steps(job, held, items, {
      dryRun,
      maxSteps: Math.ceil(budget.items / STEP_ITEMS),
      endMs: startedMs + budget.ms,
    });
    const backlog = await job.backlog?.(this.work) ?? null;
    return {
      job: job.name,
      started,
      durationMs: clock.now() - startedMs,
      ...done,
      remaining: backlog?.count ?? null,
      errors: items.errors,
      dryRun,
    };
  }

  /** Runs the steps of a claimed job until it is complete, the budget is spent, a step fails or the lease is lost. */
  async #steps(
    job: Job,
    claimed: StoredSchedule,
    items: ItemRunner,
    { dryRun, maxSteps, endMs }: { readonly dryRun: boolean; readonly maxSteps: number; readonly endMs: number },
  ): Promise<Pick<JobReport, "processed" | "complete" | "report">> {
    const done = { processed: 0, complete: false, report: {} as JsonObject };
    let held: StoredSchedule | null = claimed;
    let cursor = dryRun ? null : (claimed.cursor as JsonObject | undefined) ?? null;
    for (let steps = 1;; steps++) {
      const step = await this.#step(job, items, cursor, held, dryRun);
      if (!step) return done;
      cursor = step.cursor;
      const nowMs = this.work.context.clock.now();
      const isSpent = steps >= maxSteps || nowMs >= endMs;
      // Null: the lease ended, and another process continues the run from the saved cursor.
      if (!dryRun) held = await this.#save(held, rules.after(held, step, job, isSpent, nowMs));
      done.processed += step.processed;
      done.report = merged(done.report, step.report ?? {});
      done.complete = cursor === null && held !== null;
      if (cursor === null || isSpent || !held) return done;
    }
  }

  /** Null if the step failed as a whole: the schedule then has the error and the time of the next attempt. */
  async #step(job: Job, items: ItemRunner, cursor: JsonObject | null, held: StoredSchedule, dryRun: boolean) {
    try {
      return await job.step(items.run(cursor, STEP_ITEMS));
    } catch (error) {
      if (dryRun) throw error;
      const after = rules.failed(held, error, randomFraction(), this.work.context.clock.now());
      this.work.platform.logger.error("job_failed", { job: job.name, ...after.lastError, failures: after.failures });
      items.errors.push({ item: "*", code: after.lastError?.code ?? "internal", message: after.lastError?.message ?? "" });
      await this.#save(held, after);
      return null;
    }
  }

  /** Writes the schedule if it still has its version; null if another process changed it meanwhile. */
  async #save(before: StoredSchedule, after: Schedule): Promise<StoredSchedule | null> {
    const record = { ...after, updatedAt: this.work.now() };
    const { result, version } = await this.work.transact(async () => {
      const found = await this.#schedules.get(after.job);
      if ((found?.version ?? UNSAVED) !== before.version) return { done: { saved: false }, resultOf: null };
      return {
        commit: { changes: [{ entity: schedule, before: found, after: record }], audit: "none", result: { saved: true } },
        resultOf: null,
      };
    });
    return result.saved && version !== null ? { ...record, version } as StoredSchedule : null;
  }

  /** Those of the features, or of the container's options: both are declared as `Job`. */
  async #jobs(): Promise<readonly Job[]> {
    return await this.work.platform.jobs() as readonly Job[];
  }
}

function stateOf({ name, summary, everySeconds }: Job, at: StoredSchedule | null, backlog: Backlog | null, now: string): JobState {
  return {
    name,
    summary,
    everySeconds,
    running: at !== null && rules.isLeased(at, now),
    nextRunAt: at?.nextRunAt ?? now,
    lastStartedAt: at?.lastStartedAt ?? null,
    lastFinishedAt: at?.lastFinishedAt ?? null,
    lastDurationMs: at?.lastDurationMs ?? null,
    lastProcessed: at?.lastProcessed ?? null,
    lastError: at?.lastError ?? null,
    failures: at?.failures ?? 0,
    backlog,
  };
}

/** Numbers of the steps' reports are added up; other members are those of the last step. */
function merged(before: JsonObject, step: JsonObject): JsonObject {
  const sums = Object.entries(step).map(([name, value]) => {
    const known = before[name];
    return [name, typeof value === "number" && typeof known === "number" ? known + value : value] as const;
  });
  return { ...before, ...Object.fromEntries(sums) };
}
