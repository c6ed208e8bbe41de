import { deadlineIn, remainingMs } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";

/**
 * Batches calls without a delay: a call is sent at once while fewer than `lanes` batches are in flight; otherwise it waits and
 * is sent with the other waiting calls when a batch returns. Timers only enforce deadlines and free the lane of a slow batch.
 */
export interface BatcherOptions<Call, Result> {
  /** Batches in flight at once. */
  readonly lanes: number;
  /**
   * A batch that takes longer no longer counts among them, so that one hung connection does not stop all calls for as
   * long as its deadline; at most as many as `lanes`. Never, when left out.
   */
  readonly slowAfterMs?: number;
  /** Sends at the end of the turn instead of at once: what one caller asks for in one turn goes together. */
  readonly gathers?: boolean;
  /** Calls in one batch at most. */
  readonly maxCalls: number;
  /** Made for each batch: whether a call may join those before it; what may not waits for the next. */
  readonly joins?: () => (call: Call) => boolean;
  /** Calls of one name are never in two batches at once. */
  readonly exclusive?: (call: Call) => string;
  /** How long a call may take, queued and in flight together. */
  readonly timeoutMs: number;
  /** A batch in flight ends by its deadline and says how; only queued calls are ended here. */
  readonly endsItself?: boolean;
  /** What a call is rejected with at its deadline. Not `sent`: it left the queue and never goes out. */
  readonly expired: (sent: boolean) => unknown;
  /**
   * Returns one result a call, in order; one that comes later is a promise, and does not hold the lane. Rejecting
   * fails every call. It must end by the deadline, that of its newest call: the lane is taken until then.
   */
  readonly send: (calls: readonly Call[], deadline: Deadline) => Promise<readonly Outcome<Result>[]>;
}

export type Outcome<T> = { readonly ok: true; readonly value: T | Promise<T> } | { readonly ok: false; readonly error: unknown };

interface Waiting<Call, Result> {
  readonly call: Call;
  readonly deadline: Deadline;
  readonly resolve: (value: Result | Promise<Result>) => void;
  readonly reject: (error: unknown) => void;
}

/** Calls in flight together, in the order they came; those before `expired` have been given up. */
interface Batch<Call, Result> {
  readonly members: readonly Waiting<Call, Result>[];
  expired: number;
  /** When it took its lane; null once it gave it up. */
  since: number | null;
}

export class Batcher<Call, Result> {
  /** In the order of the calls, and so of their deadlines. */
  #queue: Waiting<Call, Result>[] = [];
  readonly #inFlight = new Set<Batch<Call, Result>>();
  #lanesTaken = 0;
  #isPumpDue = false;
  /** Set while calls wait behind full lanes. */
  #slowTimer: ReturnType<typeof setTimeout> | undefined;
  /** Set for the oldest call when calls come in after a rest, and not touched again before it fires or all calls are done. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: BatcherOptions<Call, Result>) {}

  /** With the deadline of an earlier try where there was one. */
  run(call: Call, deadline: Deadline = deadlineIn(this.options.timeoutMs)): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ call, deadline, resolve, reject });
      this.#timer ??= setTimeout(this.#expire, remainingMs(deadline));
      if (this.options.gathers) this.#pumpSoon();
      else this.#pump();
    });
  }

  #pumpSoon(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    queueMicrotask(() => this.#pump());
  }

  #pump(): void {
    this.#isPumpDue = false;
    const { lanes, slowAfterMs } = this.options;
    while (this.#queue.length > 0 && this.#lanesTaken < lanes) {
      const batch: Batch<Call, Result> = { members: this.#take(), expired: 0, since: performance.now() };
      if (batch.members.length === 0) break;
      this.#inFlight.add(batch);
      this.#lanesTaken++;
      void this.#send(batch);
    }
    if (this.#queue.length > 0 && slowAfterMs !== undefined) this.#slowTimer ??= setTimeout(this.#pass, this.#untilSlow(slowAfterMs));
    if (this.#inFlight.size > 0) return;
    // A timer with nothing to wait for would keep the process alive.
    clearTimeout(this.#timer);
    clearTimeout(this.#slowTimer);
    this.#timer = this.#slowTimer = undefined;
  }

  /** Until the oldest batch that holds a lane has held it for so long. */
  #untilSlow(slowAfterMs: number): number {
    const [oldest] = [...this.#inFlight].filter(({ since }) => since !== null);
    return remainingMs((oldest?.since ?? performance.now()) + slowAfterMs);
  }

  /** Frees the lane of a slow batch. */
  readonly #pass = (): void => {
    this.#slowTimer = undefined;
    const { lanes, slowAfterMs = Infinity } = this.options;
    for (const batch of this.#inFlight) {
      if (batch.since === null || performance.now() - batch.since < slowAfterMs || this.#inFlight.size - this.#lanesTaken >= lanes) {
        continue;
      }
      batch.since = null;
      this.#lanesTaken--;
    }
    this.#pump();
  };

  /** Rejects what is due, first in flight, then queued, and sets the timer for the next. */
  readonly #expire = (): void => {
    let next = Infinity;
    for (const batch of this.options.endsItself ? [] : this.#inFlight) {
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
    const { joins, maxCalls, exclusive } = this.options;
    if (!joins) return this.#queue.splice(0, maxCalls);
    const taken = new Set(exclusive && [...this.#inFlight].flatMap(({ members }) => members.map(({ call }) => exclusive(call))));
    const joinsBatch = joins();
    const batch: Waiting<Call, Result>[] = [];
    const rest: Waiting<Call, Result>[] = [];
    for (const waiting of this.#queue) {
      const isTaken = exclusive !== undefined && taken.size > 0 && taken.has(exclusive(waiting.call));
      if (batch.length < maxCalls && !isTaken && joinsBatch(waiting.call)) {
        batch.push(waiting);
      } else {
        rest.push(waiting);
      }
    }
    this.#queue = rest;
    return batch;
  }

  async #send(batch: Batch<Call, Result>): Promise<void> {
    const { members } = batch;
    try {
      const newest = members.at(-1)?.deadline ?? deadlineIn(this.options.timeoutMs);
      const outcomes = await this.options.send(members.map((waiting) => waiting.call), newest);
      for (const [i, waiting] of members.entries()) {
        const outcome = outcomes[i];
        if (outcome?.ok) waiting.resolve(outcome.value);
        else waiting.reject(outcome?.error ?? new Error("the batch gave no outcome for this call"));
      }
    } catch (error) {
      for (const waiting of members) waiting.reject(error);
    }
    // Callers in a loop run first, so that their next calls join the next batch.
    for (let turn = 0; turn < CALLER_TURNS; turn++) await null;
    this.#inFlight.delete(batch);
    if (batch.since !== null) this.#lanesTaken--;
    this.#pump();
  }
}

/** Microtask turns between a batch's return and a caller's next call, through the layers above. */
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
