/**
 * What a tenant owes, written independently of the program: the integral of the price over the time in which its subscription was paid
 * for. A period that is paid for is owed to its end, or to the instant at which a period of another length replaced it.
 */
export interface Price {
  readonly price: number;
  readonly unit: "day" | "month";
  readonly count: number;
}

interface Segment {
  readonly from: number;
  readonly price: number;
}

interface Period {
  readonly start: number;
  /** The end of the full period. */
  readonly full: number;
  end: number;
  isPaid: boolean;
  segments: Segment[];
}

const DAY = 86_400_000;

export class Oracle {
  readonly #periods: Period[] = [];
  #sold: Price;
  /** What the next periods cost, if a migration has set it. */
  #next: Price | null = null;
  #anchor = 0;
  #trialEnd: number | null;
  isSuspended = false;
  isCancelled = false;
  #isEnding = false;

  constructor(sold: Price, now: number, trialEnd: number | null) {
    this.#sold = sold;
    this.#trialEnd = trialEnd;
    if (trialEnd === null) this.#begin(now);
  }

  get isOnTrial(): boolean {
    return this.#trialEnd !== null;
  }

  /** In the minor unit, not rounded. */
  owed(): number {
    return this.#periods.filter(({ isPaid }) => isPaid).reduce((sum, { start, full, end, segments }) => {
      const parts = segments.map(({ from, price }, i) => price * ((segments[i + 1]?.from ?? end) - from) / (full - start));
      return sum + parts.reduce((a, b) => a + b, 0);
    }, 0);
  }

  /** Everything that the clock does until `now`. */
  advance(now: number): void {
    for (let end = this.#end(); !this.isCancelled && end <= now; end = this.#end()) {
      if (this.#isEnding) this.#expire();
      else this.#begin(end, this.#trialEnd !== null);
    }
  }

  change(to: Price, now: number): void {
    const present = this.#present();
    const from = this.#sold;
    [this.#sold, this.#next] = [to, null];
    if (!present?.isPaid) return;
    if (from.unit === to.unit && from.count === to.count) present.segments.push({ from: now, price: to.price });
    else this.#restart(now);
  }

  /** A migration whose price begins with the next period. */
  changeNext(to: Price): void {
    if (this.#present()?.isPaid) this.#next = to;
    else this.#sold = to;
  }

  cancelAtEnd(): void {
    this.#isEnding = !this.isCancelled;
  }

  cancelNow(): void {
    [this.isCancelled, this.#isEnding] = [true, false];
  }

  /** `isLive`: the tenant is not suspended. */
  reactivate(now: number): void {
    this.#isEnding = false;
    if (!this.isCancelled) return;
    this.isCancelled = false;
    if (this.#end() <= now) {
      this.#trialEnd = null;
      this.#restart(now);
    } else if (!this.isSuspended) this.#pay(now);
  }

  suspend(): void {
    this.isSuspended = true;
  }

  unsuspend(now: number): void {
    this.isSuspended = false;
    if (!this.isCancelled) this.#pay(now);
  }

  #present(): Period | undefined {
    return this.#trialEnd === null ? this.#periods.at(-1) : undefined;
  }

  #end(): number {
    return this.#trialEnd ?? this.#periods.at(-1)?.end ?? Infinity;
  }

  #expire(): void {
    [this.isCancelled, this.#isEnding] = [true, false];
  }

  /** A free period is replaced by a paid one. */
  #pay(now: number): void {
    if (this.#present()?.isPaid === false) this.#restart(now);
  }

  #restart(now: number): void {
    const last = this.#periods.at(-1);
    if (last && last.end > now) last.end = now;
    this.#anchor = 0;
    this.#begin(now);
  }

  #begin(start: number, isFirst = false): void {
    if (isFirst) this.#trialEnd = null;
    if (this.#next) [this.#sold, this.#next] = [this.#next, null];
    this.#anchor ||= new Date(start).getUTCDate();
    const full = after(start, this.#sold, this.#anchor);
    this.#periods.push({ start, full, end: full, isPaid: !this.isSuspended, segments: [{ from: start, price: this.#sold.price }] });
  }
}

function after(start: number, { unit, count }: Price, anchor: number): number {
  if (unit === "day") return start + count * DAY;
  const date = new Date(start);
  const first = Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + count, 1);
  const length = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + count + 1, 0)).getUTCDate();
  return first + (Math.min(anchor, length) - 1) * DAY + start % DAY;
}
