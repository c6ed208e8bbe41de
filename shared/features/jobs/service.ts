import type { Backlog, Job } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import { type JobReport, Run } from "./job-run.ts";
import * as rules from "./rules.ts";
import { type Budget, CALL_BUDGET, STEP_ITEMS } from "./run.ts";
import { type Claimed, Schedules, type StoredSchedule } from "./schedules.ts";

export type { JobReport };

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
  readonly ageSeconds: number;
  readonly overdue: boolean;
  readonly overdueAfterSeconds: number;
}

export interface RunOptions {
  readonly dryRun?: boolean;
  readonly budget?: Budget;
}

/** The background jobs of all features: their schedules, runs and dead letters. */
export class JobService {
  readonly #schedules: Schedules;

  constructor(private readonly work: UnitOfWork) {
    this.#schedules = new Schedules(work);
  }

  /** Every job with its schedule and what waits for it. */
  async list(): Promise<JobState[]> {
    const jobs = await this.#jobs();
    const [schedules, backlogs] = await Promise.all([
      this.#schedules.ofJobs(jobs),
      Promise.all(jobs.map(({ backlog }) => backlog?.(this.work) ?? null)),
    ]);
    return jobs.map((job, i) => stateOf(job, schedules[i] ?? null, backlogs[i] ?? null, this.#nowMs()));
  }

  /** Runs the jobs that are due, which share the budget. A job that another process runs is left to it. */
  async runDue({ dryRun = false, budget = CALL_BUDGET }: RunOptions = {}): Promise<JobReport[]> {
    const jobs = await this.#jobs();
    const due = await (dryRun ? this.#schedules.due(jobs) : this.#schedules.claimDue(jobs));
    return await this.#takeTurns(due, dryRun, budget);
  }

  /** Runs a job now, due or not. Throws `not_found`, and `job_running` while another process runs it. */
  async run(name: string, { dryRun = false, budget = CALL_BUDGET }: RunOptions = {}): Promise<JobReport> {
    const jobs = await this.#jobs();
    const job = jobs.find((each) => each.name === name);
    if (!job) {
      throw new InnkeepError("not_found", `There is no job of this name. The jobs are: ${jobs.map((each) => each.name).join(", ")}.`);
    }
    const [known] = await this.#schedules.ofJobs([job]);
    const found = known ?? this.#schedules.unsaved(job);
    const held = dryRun ? found : rules.isLeased(found, this.#nowMs()) ? null : await this.#schedules.claim(found);
    const [report] = held ? await this.#takeTurns([{ job, held }], dryRun, budget) : [];
    if (!report) throw new InnkeepError("job_running", `Another process is running the job ${name}. Wait until it ends.`);
    return report;
  }

  /** The runs take turns, step by step, so that a job with a million items does not delay another one. */
  async #takeTurns(claimed: readonly Claimed[], dryRun: boolean, budget: Budget): Promise<JobReport[]> {
    const endMs = this.#nowMs() + budget.ms;
    const runs = claimed.map((each) => new Run(each, this.work, this.#schedules, dryRun));
    const waiting = [...runs];
    let items = budget.items;
    while (items > 0 && this.#nowMs() < endMs) {
      const run = waiting.shift();
      if (!run) break;
      items -= await run.step(Math.min(STEP_ITEMS, items));
      if (!run.isOver) waiting.push(run);
    }
    for (const run of waiting) await run.pause();
    await Promise.all(runs.map((run) => run.rest()));
    return runs.map((run) => run.report());
  }

  #nowMs(): number {
    return this.work.context.clock.now();
  }

  /** Those of the features, or of the container's options: both are declared as `Job`. */
  async #jobs(): Promise<readonly Job[]> {
    return await this.work.platform.jobs() as readonly Job[];
  }
}

function stateOf(job: Job, at: StoredSchedule | null, backlog: Backlog | null, nowMs: number): JobState {
  const { name, summary, everySeconds } = job;
  const running = at !== null && rules.isLeased(at, nowMs);
  const ageSeconds = secondsOf(at && withBacklog(at, backlog), nowMs);
  return {
    name,
    summary,
    everySeconds,
    running,
    nextRunAt: at === null || rules.isBeyondReach(at, job, nowMs) ? isoTime(nowMs) : running ? at.nextRunAt : at.dueAt,
    lastStartedAt: at?.lastStartedAt ?? null,
    lastFinishedAt: at?.lastFinishedAt ?? null,
    lastDurationMs: at?.lastDurationMs ?? null,
    lastProcessed: at?.lastProcessed ?? null,
    lastError: at?.lastError ?? null,
    failures: at?.failures ?? 0,
    backlog,
    ageSeconds,
    overdue: ageSeconds >= rules.overdueSeconds(job),
    overdueAfterSeconds: rules.overdueSeconds(job),
  };
}

/** The schedule with what waits now, instead of what the last call left. */
function withBacklog({ nextRunAt, waitingSince }: StoredSchedule, backlog: Backlog | null) {
  if (!backlog) return { nextRunAt, ...(waitingSince === undefined ? {} : { waitingSince }) };
  return backlog.oldestAt === null ? { nextRunAt } : { nextRunAt, waitingSince: backlog.oldestAt };
}

function secondsOf(at: Parameters<typeof rules.ageMs>[0] | null, nowMs: number): number {
  return at === null ? 0 : Math.floor(rules.ageMs(at, nowMs) / 1_000);
}
