/**
 * Natural batching, no timer: a call goes out at once while fewer than `lanes` flushes are under way;
 * otherwise it waits and goes with all others that wait when a flush returns (store.md §3). One caller
 * alone never waits; many callers share round trips and commits.
 */
export interface BatcherOptions<Call, Result> {
  /** Flushes under way at once: two for reads, one for writes. */
  readonly lanes: number;
  /** Calls in one flush at most. */
  readonly maxCalls: number;
  /** Whether `call` may join the flush that `batch` is; what may not waits for the next. */
  readonly joins?: (batch: readonly Call[], call: Call) => boolean;
  /** Answers one result a call, in order. Rejecting fails every call of the flush. */
  readonly flush: (calls: readonly Call[]) => Promise<readonly Outcome<Result>[]>;
}

export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown };

interface Waiting<Call, Result> {
  readonly call: Call;
  readonly resolve: (value: Result) => void;
  readonly reject: (error: unknown) => void;
}

export class Batcher<Call, Result> {
  #queue: Waiting<Call, Result>[] = [];
  #underWay = 0;

  constructor(private readonly options: BatcherOptions<Call, Result>) {}

  run(call: Call): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ call, resolve, reject });
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#underWay < this.options.lanes) {
      const batch = this.#take();
      this.#underWay++;
      void this.#flush(batch);
    }
  }

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

  async #flush(batch: readonly Waiting<Call, Result>[]): Promise<void> {
    try {
      const outcomes = await this.options.flush(batch.map((waiting) => waiting.call));
      for (const [i, waiting] of batch.entries()) {
        const outcome = outcomes[i];
        if (outcome?.ok) waiting.resolve(outcome.value);
        else waiting.reject(outcome?.error ?? new Error("the flush gave no outcome for this call"));
      }
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    }
    // Callers in a loop get their turn first, so that their next calls go together and not one flush later.
    for (let turn = 0; turn < CALLER_TURNS; turn++) await null;
    this.#underWay--;
    this.#pump();
  }
}

/** Microtask turns between a flush's answer and a caller's next call, through the layers above. */
const CALLER_TURNS = 16;
