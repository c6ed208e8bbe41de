/** Repeatable random choices. The seed is printed, and SEED= sets it. */
export interface Random {
  readonly seed: number;
  /** An integer, 0 ≤ n < bound. */
  below(bound: number): number;
  pick<T>(items: readonly T[]): T;
  text(length: number, alphabet: string): string;
}

export function seededRandom(label: string): Random {
  const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  console.info(`${label}: SEED=${seed}`);
  let state = seed >>> 0;
  // mulberry32 (T. Ettinger, public domain): small, and good enough to choose test inputs.
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (bound: number) => Math.floor(next() * bound);
  return {
    seed,
    below,
    pick: (items) => {
      const item = items[below(items.length)];
      if (item === undefined) throw new Error("nothing to pick from");
      return item;
    },
    text: (length, alphabet) => Array.from({ length }, () => alphabet[below(alphabet.length)]).join(""),
  };
}
