import { deadlineIn, remainingMs } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";

/**
 * Natural batching, no timer: a call goes out at once while fewer than `lanes` flushes are under way;
 * otherwise it waits and goes with all others that wait when a flush returns (store.md §3). One caller
 * alone never waits; many callers share round trips and commits. The one timer there is ends calls
 * whose deadline has come.
 */
export interface BatcherOptions<Call, Result> {
  /** Flushes under way at once: two for reads, one for writes. */
  readonly lanes: number;
  /** Calls in one flush at most. */
  readonly maxCalls: number;
  /** Whether `call` may join the flush that `batch` is; what may not waits for the next. */
  readonly joins?: (batch: readonly Call[], call: Call) => boolean;
  /** How long a call may take, queued and in flight together. */
  readonly timeoutMs: number;
  /** What a call is rejected with at its deadline. Not `sent`: it left the queue and never goes out. */
  readonly expired: (sent: boolean) => unknown;
  /**
   * Answers one result a call, in order. Rejecting fails every call of the flush. It must end by the
   * deadline, that of its newest call: the lane is taken until then.
   */
  readonly flush: (calls: readonly Call[], deadline: Deadline) => Promise<readonly Outcome<Result>[]>;
}

export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown };

interface Waiting<Call, Result> {
  readonly call: Call;
  readonly deadline: Deadline;
  readonly resolve: (value: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** Calls in flight together, in the order they came; those before `expired` have been given up. */
interface Batch<Call, Result> {
  readonly members: readonly Waiting<Call, Result>[];
  expired: number;
}

export class Batcher<Call, Result> {
  /** In the order of the calls, and so of their deadlines. */
  #queue: Waiting<Call, Result>[] = [];
  readonly #inFlight = new Set<Batch<Call, Result>>();
  /** Set for the oldest call when calls come in after a rest, and not touched again before it fires or all calls are done. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: BatcherOptions<Call, Result>) {}

  run(call: Call): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ call, deadline: deadlineIn(this.options.timeoutMs), resolve, reject });
      this.#timer ??= setTimeout(this.#expire, this.options.timeoutMs);
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#inFlight.size < this.options.lanes) {
      const batch: Batch<Call, Result> = { members: this.#take(), expired: 0 };
      this.#inFlight.add(batch);
      void this.#flush(batch);
    }
    if (this.#inFlight.size > 0) return;
    // A timer with nothing to wait for would keep the process alive.
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Rejects what is due, first in flight, then queued, and sets the timer for the next. */
  readonly #expire = (): void => {
    let next = Infinity;
    for (const batch of this.#inFlight) {
      const due = dueIn(batch.members, batch.expired);
      for (const waiting of batch.members.slice(batch.expired, due)) waiting.reject(this.options.expired(true));
      batch.expired = due;
      next = Math.min(next, batch.members[due]?.deadline ?? Infinity);
    }
    for (const waiting of this.#queue.splice(0, dueIn(this.#queue, 0))) waiting.reject(this.options.expired(false));
    next = Math.min(next, this.#queue[0]?.deadline ?? Infinity);
    this.#timer = next === Infinity ? undefined : setTimeout(this.#expire, remainingMs(next));
  };

  /** The calls that go now, in order; one that does not join holds back nothing but itself. */
  #take(): Waiting<Call, Result>[] {
    const { joins, maxCalls } = this.options;
    if (!joins) return this.#queue.splice(0, maxCalls);
    const batch: Waiting<Call, Result>[] = [];
    const calls: Call[] = [];
    const rest: Waiting<Call, Result>[] = [];
    for (const waiting of this.#queue) {
      if (calls.length < maxCalls && joins(calls, waiting.call)) {
        batch.push(waiting);
        calls.push(waiting.call);
      } else {
        rest.push(waiting);
      }
    }
    this.#queue = rest;
    return batch;
  }

  async #flush(batch: Batch<Call, Result>): Promise<void> {
    const { members } = batch;
    try {
      const newest = members.at(-1)?.deadline ?? deadlineIn(this.options.timeoutMs);
      const outcomes = await this.options.flush(members.map((waiting) => waiting.call), newest);
      for (const [i, waiting] of members.entries()) {
        const outcome = outcomes[i];
        if (outcome?.ok) waiting.resolve(outcome.value);
        else waiting.reject(outcome?.error ?? new Error("the flush gave no outcome for this call"));
      }
    } catch (error) {
      for (const waiting of members) waiting.reject(error);
    }
    // Callers in a loop get their turn first, so that their next calls go together and not one flush later.
    for (let turn = 0; turn < CALLER_TURNS; turn++) await null;
    this.#inFlight.delete(batch);
    this.#pump();
  }
}

/** Microtask turns between a flush's answer and a caller's next call, through the layers above. */
const CALLER_TURNS = 16;

/** The position of the first call, from `from` on, that still has time. */
function dueIn(waiting: readonly { readonly deadline: Deadline }[], from: number): number {
  let at = from;
  for (; at < waiting.length; at++) {
    const deadline = waiting[at]?.deadline;
    if (deadline === undefined || remainingMs(deadline) > 0) break;
  }
  return at;
}
