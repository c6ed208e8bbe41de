import { deadlineIn, remainingMs } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";

export interface BatcherOptions<Call, Result> {
  /** The maximum number of batches in flight. */
  readonly lanes: number;
  /**
   * After this time a batch no longer occupies a lane, so that a hung connection does not block all calls until its deadline. At most
   * `lanes` batches are excluded. If omitted, none are.
   */
  readonly slowAfterMs?: number;
  /** If true, a batch is sent at the end of the event loop turn, so that the calls of one turn share it. */
  readonly gathers?: boolean;
  /** The maximum number of calls in a batch. */
  readonly maxCalls: number;
  /** Creates the test of one batch: whether a call may join the calls before it. If not, the call waits for a later batch. */
  readonly joins?: () => (call: Call) => boolean;
  /** The name of a call. Calls with the same name are never in two batches in flight. */
  readonly exclusive?: (call: Call) => string;
  /** The default deadline of a call, which includes its time in the queue. */
  readonly timeoutMs: number;
  /** If true, `send` enforces the deadline of calls in flight, and only queued calls are rejected here. */
  readonly endsItself?: boolean;
  /** The error of a call at its deadline. If `sent` is false, the call was still queued and is never sent. */
  readonly expired: (sent: boolean) => unknown;
  /**
   * Returns one outcome per call, in order. A value may be a promise, which does not occupy the lane. A rejection rejects every call.
   * Must settle by the deadline, which is that of the newest call.
   */
  readonly send: (calls: readonly Call[], deadline: Deadline) => Promise<readonly Outcome<Result>[]>;
}

export type Outcome<T> = { readonly ok: true; readonly value: T | Promise<T> } | { readonly ok: false; readonly error: unknown };

/**
 * The outcome of a call that is sent again. It can fail before the other calls of its batch are answered. Until then nothing awaits it,
 * and Node and Deno end a process for an unhandled rejection.
 */
export function pending<T>(value: Promise<T>): Outcome<T> {
  value.catch(() => undefined);
  return { ok: true, value };
}

interface Waiting<Call, Result> {
  readonly call: Call;
  readonly deadline: Deadline;
  readonly resolve: (value: Result | Promise<Result>) => void;
  readonly reject: (error: unknown) => void;
}

/** Calls in flight together, in the order of their arrival. Those before the position `expired` have been rejected. */
interface Batch<Call, Result> {
  readonly members: readonly Waiting<Call, Result>[];
  expired: number;
  /** When the batch took its lane (`performance.now()`); null after the lane was freed. */
  since: number | null;
}

/**
 * Batches calls without a delay: a call is sent at once while fewer than `lanes` batches are in flight. Otherwise it is sent with the
 * other waiting calls when a batch returns. Timers only enforce deadlines and free the lanes of slow batches.
 */
export class Batcher<Call, Result> {
  /** In the order of arrival. */
  #queue: Waiting<Call, Result>[] = [];
  readonly #inFlight = new Set<Batch<Call, Result>>();
  #lanesTaken = 0;
  #isPumpDue = false;
  /** Set while calls wait for a lane. */
  #slowTimer: ReturnType<typeof setTimeout> | undefined;
  /** Set for the earliest deadline, at `#timerAt`. Cleared when no calls are left. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt: Deadline = Infinity;

  constructor(private readonly options: BatcherOptions<Call, Result>) {}

  /** Sends a call with others. A call that is repeated keeps its deadline. */
  run(call: Call, deadline: Deadline = deadlineIn(this.options.timeoutMs)): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ call, deadline, resolve, reject });
      this.#wakeAt(deadline);
      if (this.options.gathers) this.#pumpSoon();
      else this.#pump();
    });
  }

  /** Sets the timer, unless it fires earlier. */
  #wakeAt(deadline: Deadline): void {
    if (deadline >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = deadline;
    this.#timer = setTimeout(this.#expire, remainingMs(deadline));
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
    // A pending timer would keep the process alive.
    clearTimeout(this.#timer);
    clearTimeout(this.#slowTimer);
    this.#timer = this.#slowTimer = undefined;
    this.#timerAt = Infinity;
  }

  /** Milliseconds until the oldest batch in a lane is slow. */
  #untilSlow(slowAfterMs: number): number {
    const [oldest] = [...this.#inFlight].filter(({ since }) => since !== null);
    return remainingMs((oldest?.since ?? performance.now()) + slowAfterMs);
  }

  /** Frees the lanes of slow batches. */
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

  /** Rejects the calls whose deadline has passed, and sets the timer for the next deadline. */
  readonly #expire = (): void => {
    this.#timerAt = Infinity;
    let next = Infinity;
    for (const batch of this.options.endsItself ? [] : this.#inFlight) {
      const due = dueIn(batch.members, batch.expired);
      for (const waiting of batch.members.slice(batch.expired, due)) waiting.reject(this.options.expired(true));
      batch.expired = due;
      next = Math.min(next, batch.members[due]?.deadline ?? Infinity);
    }
    // Not in the order of deadlines: a call that is repeated here may have begun before those in front of it.
    this.#queue = this.#queue.filter(({ deadline, reject }) => {
      const isDue = remainingMs(deadline) === 0;
      if (isDue) reject(this.options.expired(false));
      else next = Math.min(next, deadline);
      return !isDue;
    });
    this.#timer = undefined;
    if (next < Infinity) this.#wakeAt(next);
  };

  /** The calls of the next batch, in order. A call that cannot join does not delay others. */
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
        else waiting.reject(outcome?.error ?? new Error("send() returned no outcome for this call"));
      }
    } catch (error) {
      for (const waiting of members) waiting.reject(error);
    }
    // Callers in a loop continue first, so that their next calls join the next batch.
    for (let turn = 0; turn < CALLER_TURNS; turn++) await null;
    this.#inFlight.delete(batch);
    if (batch.since !== null) this.#lanesTaken--;
    this.#pump();
  }
}

/** The number of microtasks between a result and the caller's next call, through the layers above. */
const CALLER_TURNS = 16;

/** The position of the first call at or after `from` whose deadline has not passed. */
function dueIn(waiting: readonly { readonly deadline: Deadline }[], from: number): number {
  let at = from;
  for (; at < waiting.length; at++) {
    const deadline = waiting[at]?.deadline;
    if (deadline === undefined || remainingMs(deadline) > 0) break;
  }
  return at;
}
