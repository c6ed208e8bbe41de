/** The holder of the turn for one name, the time it began in milliseconds (`performance.now()`), and the waiting callers. */
interface Turn {
  holder: symbol;
  since: number;
  readonly waiting: ((holder: symbol) => void)[];
  /** Set while callers wait. */
  timer?: ReturnType<typeof setTimeout> | undefined;
}

/**
 * In-process locks by name, granted in order of request. Calls that lost a race for a record take turns instead of racing again, so
 * that no call fails because others are faster. After `maxTurnMs` the turn passes to the next caller, also if its work still runs.
 */
export class Turns {
  readonly #turns = new Map<string, Turn>();

  constructor(private readonly maxTurnMs = 5_000) {}

  /** Whether the turn for the name is taken. */
  isTaken(name: string): boolean {
    return this.#turns.has(name);
  }

  /** Runs the work once the turns for all names are taken. They are taken in sorted order, which prevents deadlocks. */
  async run<T>(names: readonly string[], work: () => Promise<T>): Promise<T> {
    const [name, ...others] = [...new Set(names)].sort();
    if (name === undefined) return await work();
    const holder = await this.#take(name);
    try {
      return await this.run(others, work);
    } finally {
      if (this.#turns.get(name)?.holder === holder) this.#passOn(name);
    }
  }

  async #take(name: string): Promise<symbol> {
    const turn = this.#turns.get(name);
    if (turn) {
      const taken = new Promise<symbol>((resolve) => turn.waiting.push(resolve));
      this.#watch(name, turn);
      return await taken;
    }
    const holder = Symbol(name);
    this.#turns.set(name, { holder, since: performance.now(), waiting: [] });
    return holder;
  }

  #watch(name: string, turn: Turn): void {
    turn.timer ??= setTimeout(() => this.#passOn(name), Math.max(0, turn.since + this.maxTurnMs - performance.now()));
  }

  #passOn(name: string): void {
    const turn = this.#turns.get(name);
    if (!turn) return;
    clearTimeout(turn.timer);
    turn.timer = undefined;
    const next = turn.waiting.shift();
    if (!next) {
      this.#turns.delete(name);
      return;
    }
    turn.holder = Symbol(name);
    turn.since = performance.now();
    next(turn.holder);
    if (turn.waiting.length > 0) this.#watch(name, turn);
  }
}
