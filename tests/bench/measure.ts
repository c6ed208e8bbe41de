/** Interleaved measurement: contenders alternate in rounds, so that drift of the machine affects all of them equally. */

export interface Contender {
  readonly name: string;
  /** One operation. `i` increases over all rounds. */
  readonly run: (i: number) => Promise<unknown>;
  /** Runs before each round and is not measured. */
  readonly prepare?: (round: number) => Promise<unknown>;
}

export interface Measured {
  readonly name: string;
  /** Operations per second, the median of the rounds. */
  readonly perSecond: number;
  /** Milliseconds per operation over all rounds. */
  readonly medianMs: number;
  readonly p99Ms: number;
  /** Operations per second of each round, for ratios of paired rounds. */
  readonly rounds: readonly number[];
}

export interface Load {
  readonly callers: number;
  /** The number of operations per round. A contender may set another one. */
  readonly operations: number | Readonly<Record<string, number>>;
  readonly rounds: number;
}

export async function interleave(contenders: readonly Contender[], load: Load): Promise<Measured[]> {
  const latencies = new Map(contenders.map(({ name }) => [name, [] as number[]]));
  const rates = new Map(contenders.map(({ name }) => [name, [] as number[]]));
  const counters = new Map(contenders.map(({ name }) => [name, 0]));
  for (let round = -1; round < load.rounds; round++) { // round -1 warms up
    for (const contender of contenders) {
      const operations = typeof load.operations === "number" ? load.operations : load.operations[contender.name] ?? 1;
      await contender.prepare?.(round);
      const times: number[] = [];
      const started = performance.now();
      let left = operations;
      await Promise.all(Array.from({ length: Math.min(load.callers, operations) }, async () => {
        while (left-- > 0) {
          const i = counters.get(contender.name) ?? 0;
          counters.set(contender.name, i + 1);
          const before = performance.now();
          await contender.run(i);
          times.push(performance.now() - before);
        }
      }));
      if (round < 0) continue;
      rates.get(contender.name)?.push(operations / ((performance.now() - started) / 1000));
      latencies.get(contender.name)?.push(...times);
    }
  }
  return contenders.map(({ name }) => {
    const times = (latencies.get(name) ?? []).sort((a, b) => a - b);
    const rounds = rates.get(name) ?? [];
    return { name, perSecond: median(rounds), medianMs: quantile(times, 0.5), p99Ms: quantile(times, 0.99), rounds };
  });
}

export function byName(measured: readonly Measured[]): (name: string) => Measured | undefined {
  return (name) => measured.find((m) => m.name === name);
}

/** The ratio of throughput: the median over pairs of rounds. */
export function ratio(a: Measured | undefined, b: Measured | undefined): number {
  if (!a || !b) return Number.NaN;
  return median(a.rounds.map((rate, i) => rate / (b.rounds[i] ?? rate)));
}

export function median(values: readonly number[]): number {
  return quantile([...values].sort((a, b) => a - b), 0.5);
}

export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}
