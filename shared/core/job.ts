import type { ErrorCode } from "../kernel/errors.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

/**
 * A background job of a feature. The scheduler claims it, runs its steps within a budget and saves where they stopped. A step can be
 * repeated after a crash, so each of its items is one commit that checks the versions it was decided on.
 */
export interface Job {
  /** One key segment, such as `cleanup`. */
  readonly name: string;
  readonly summary: string;
  readonly everySeconds: number;
  /** The age of the backlog, or the delay of a run, from which on the job is overdue. Default: the interval and 15 minutes. */
  readonly overdueAfterSeconds?: number;
  /** One bounded step: at most `run.limit` items, from `run.cursor` on. */
  readonly step: (run: JobRun) => Promise<JobStep>;
  /**
   * Errors that are no fault of the item and that end without it, such as a missing root key. An item that fails with one is retried
   * every minute and never becomes a dead letter.
   */
  readonly uncounted?: readonly ErrorCode[];
  /** What waits for the job. */
  readonly backlog?: (work: UnitOfWork) => Promise<Backlog>;
}

export interface Backlog {
  readonly count: number;
  /** When the oldest waiting item was due; null if none waits. */
  readonly oldestAt: string | null;
}

export interface JobRun {
  /** At the service level; its actor is the job. */
  readonly work: UnitOfWork;
  /** Where the previous step stopped; null at the beginning of a run. */
  readonly cursor: JsonObject | null;
  /** The maximum number of items of a step. */
  readonly limit: number;
  /** If true, the step reports what it would do, and writes nothing. */
  readonly dryRun: boolean;
  /**
   * Handles items one by one. An item that throws is recorded, retried in a later run with backoff, and after 8 attempts kept as a
   * dead letter; the others go on. Returns the number of handled items. Throws if the database is not available. With `blocks`, items
   * that have not failed before are handled together; if a block throws, its items are handled one by one.
   */
  readonly each: <T extends JobItem>(
    items: readonly T[],
    handle: (item: T) => Promise<unknown>,
    blocks?: Blocks<T>,
  ) => Promise<number>;
}

/** How a job handles several items in one commit. */
export interface Blocks<T extends JobItem> {
  readonly size: number;
  readonly handle: (items: readonly T[]) => Promise<unknown>;
}

export interface JobItem {
  /** What identifies the item in its job, such as a record's key. */
  readonly id: string;
  readonly tenantId: string | null;
}

export interface JobStep {
  readonly processed: number;
  /** Where the next step goes on; null if the run is complete. */
  readonly cursor: JsonObject | null;
  /** What the step did, for the response of the run. */
  readonly report?: JsonObject;
  /** What goes on without the job's lease, beside the next run. The call waits for it at its end, so that the process stays alive. */
  readonly rest?: Promise<unknown>;
}
