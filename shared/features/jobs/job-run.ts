import type { Backlog, Job, JobStep } from "../../core/job.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { randomFraction } from "../../kernel/backoff.ts";
import type { JsonObject } from "../../kernel/json.ts";
import * as rules from "./rules.ts";
import { costOf, type ItemError, ItemRunner } from "./run.ts";
import type { Claimed, Schedules, StoredSchedule } from "./schedules.ts";

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

/** The part of a job's run that one call does, step by step. Each step saves where it stopped and renews the lease. */
export class Run {
  readonly #job: Job;
  readonly #items: ItemRunner;
  readonly #started: string;
  readonly #startedMs: number;
  #endMs: number;
  #cursor: JsonObject | null;
  /** Null if the call has nothing more to do: the run is complete, paused or failed, or its lease is lost. */
  #held: StoredSchedule | null;
  #backlog: Backlog | null = null;
  readonly #rests: Promise<void>[] = [];
  readonly #done = { processed: 0, complete: false, report: {} as JsonObject };

  constructor(
    { job, held }: Claimed,
    private readonly work: UnitOfWork,
    private readonly schedules: Schedules,
    private readonly dryRun: boolean,
  ) {
    this.#job = job;
    this.#held = held;
    this.#items = new ItemRunner(job, work, dryRun);
    this.#cursor = dryRun ? null : (held.cursor as JsonObject | undefined) ?? null;
    this.#started = work.now();
    this.#startedMs = this.#endMs = this.#nowMs();
    if (!dryRun && held.cursor === undefined) this.#warnIfOverdue(held);
  }

  get isOver(): boolean {
    return this.#held === null;
  }

  /** One step of at most `limit` items. Returns what it took from the budget. */
  async step(limit: number): Promise<number> {
    const held = this.#held;
    if (!held) return 0;
    const { attempted } = this.#items;
    const step = await this.#orFail(held, async () => {
      const taken = await this.#job.step(this.#items.run(this.#cursor, limit));
      if (taken.rest) this.#rests.push(taken.rest.then(() => {}, (error: unknown) => this.#failRest(error)));
      if (taken.cursor === null) await this.#count();
      return taken;
    });
    const tried = this.#items.attempted - attempted;
    if (!step) return costOf(tried, limit);
    await this.#advance(held, step);
    return costOf(Math.max(step.processed, tried), limit);
  }

  /** Releases the lease, so that the next call continues the run. */
  async pause(): Promise<void> {
    const held = this.#held;
    if (!held || !await this.#orFail(held, () => this.#count())) return;
    if (!this.dryRun) await this.schedules.save(held, rules.paused(held, this.#backlog, this.#nowMs()));
    this.#end();
  }

  /** Waits for what the steps have left. Call it before the report. */
  async rest(): Promise<void> {
    await Promise.all(this.#rests);
    if (this.#rests.length > 0) this.#endMs = this.#nowMs();
  }

  report(): JobReport {
    return {
      job: this.#job.name,
      started: this.#started,
      durationMs: this.#endMs - this.#startedMs,
      ...this.#done,
      remaining: this.#backlog?.count ?? null,
      errors: this.#items.errors,
      dryRun: this.dryRun,
    };
  }

  async #advance(held: StoredSchedule, step: JobStep): Promise<void> {
    const isLast = step.cursor === null;
    const nowMs = this.#nowMs();
    const after = isLast ? rules.completed(held, step.processed, this.#backlog, this.#job, nowMs) : rules.progressed(held, step, nowMs);
    // Null: the lease ended, and another process continues the run from the saved cursor.
    const saved = this.dryRun ? held : await this.schedules.save(held, after);
    this.#cursor = step.cursor;
    this.#done.processed += step.processed;
    this.#done.report = merged(this.#done.report, step.report ?? {});
    this.#done.complete = isLast && saved !== null;
    if (isLast || !saved) this.#end();
    else this.#held = saved;
  }

  /** Null if it failed: the schedule then has the error and the time of the next attempt. */
  async #orFail<T>(held: StoredSchedule, run: () => Promise<T>): Promise<T | null> {
    try {
      return await run();
    } catch (error) {
      if (this.dryRun) throw error;
      const after = rules.failed(held, error, randomFraction(), this.#nowMs());
      this.work.platform.logger.error("job_failed", { job: this.#job.name, ...after.lastError, failures: after.failures });
      this.#items.errors.push({ item: "*", code: after.lastError?.code ?? "internal", message: after.lastError?.message ?? "" });
      await this.schedules.save(held, after);
      this.#end();
      return null;
    }
  }

  /** The schedule has been released by then. What was left is found by the next run. */
  #failRest(error: unknown): void {
    const { code, message } = rules.errorOf(error);
    this.work.platform.logger.error("job_failed", { job: this.#job.name, code, message });
    this.#items.errors.push({ item: "*", code, message });
  }

  async #count(): Promise<true> {
    this.#backlog = await this.#job.backlog?.(this.work) ?? null;
    return true;
  }

  #warnIfOverdue(held: StoredSchedule): void {
    const ageSeconds = Math.floor(rules.ageMs(held, this.#nowMs()) / 1_000);
    const thresholdSeconds = rules.overdueSeconds(this.#job);
    if (ageSeconds >= thresholdSeconds) {
      this.work.platform.logger.warn("job_overdue", { job: this.#job.name, ageSeconds, thresholdSeconds });
    }
  }

  #end(): void {
    this.#held = null;
    this.#endMs = this.#nowMs();
  }

  #nowMs(): number {
    return this.work.context.clock.now();
  }
}

/** Numbers of the steps' reports are added up; other members are those of the last step. */
function merged(before: JsonObject, step: JsonObject): JsonObject {
  const sums = Object.entries(step).map(([name, value]) => {
    const known = before[name];
    return [name, typeof value === "number" && typeof known === "number" ? known + value : value] as const;
  });
  return { ...before, ...Object.fromEntries(sums) };
}
