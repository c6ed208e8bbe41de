import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bucketOf, isIncluded, weightedVariant } from "../../../shared/features/flags/buckets.ts";
import { seededRandom } from "../../support/random.ts";

const encoder = new TextEncoder();

/** murmur3 (32 bit), as A. Appleby's MurmurHash3.cpp of SMHasher computes it: the reference that the library is compared with. */
function murmur3(bytes: Uint8Array, seed: number): number {
  const mixed = (k: number) => {
    const scaled = Math.imul(k, 0xcc9e2d51);
    return Math.imul((scaled << 15) | (scaled >>> 17), 0x1b873593);
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = bytes.length - bytes.length % 4;
  let h = seed;
  for (let i = 0; i < whole; i += 4) {
    h ^= mixed(view.getUint32(i, true));
    h = Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64;
  }
  let tail = 0;
  for (let i = bytes.length - 1; i >= whole; i--) tail = (tail << 8) | (bytes[i] ?? 0);
  h ^= mixed(tail) ^ bytes.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Published values of MurmurHash3_x86_32, for the reference above. */
const VECTORS: readonly (readonly [text: string, seed: number, hash: number])[] = [
  ["", 0, 0],
  ["", 1, 0x514e28b7],
  ["", 0xffffffff, 0x81f16f39],
  ["a", 0x9747b28c, 0x7fa09ea6],
  ["aa", 0x9747b28c, 0x5d211726],
  ["aaa", 0x9747b28c, 0x283e0130],
  ["aaaa", 0x9747b28c, 0x5a97808a],
  ["abc", 0, 0xb3dd93fa],
  ["test", 0, 0xba6bd213],
  ["Hello, world!", 0, 0xc0363e43],
  ["Hello, world!", 0x9747b28c, 0x24884cba],
  ["The quick brown fox jumps over the lazy dog", 0, 0x2e4ff723],
  ["ππππππππ", 0x9747b28c, 0xd58063c1],
];

const ids = Array.from({ length: 100_000 }, (_, n) => `tn_${1_767_225_600_000 + n * 977}_${n.toString(36)}`);

describe("buckets", () => {
  test.each(VECTORS)("F07: murmur3 of %j with seed %i is as published", (text, seed, hash) => {
    expect(murmur3(encoder.encode(text), seed)).toBe(hash);
  });

  test("F07: a bucket is murmur3 of the UTF-8 text `<flag key>:<value>` modulo 10,000", () => {
    const { seed } = seededRandom("buckets");
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z0-9_.-]{1,40}$/), fc.string({ unit: "grapheme", maxLength: 60 }), (key, value) => {
        expect(bucketOf(key, value)).toBe(murmur3(encoder.encode(`${key}:${value}`), 0) % 10_000);
      }),
      { seed, numRuns: 1_000 },
    );
  });

  test.each([10, 33, 50])(
    "F09: a rollout of %i percent includes within 0.5 points of it of 100,000 ids, for each of 3 flags",
    (percentage) => {
      const shares = ["late-checkout", "flag-10", "flag-11"].map((key) => {
        const included = ids.filter((id) => isIncluded(key, percentage, id)).length;
        return included / ids.length * 100;
      });
      console.info(`${percentage} %: ${shares.map((share) => share.toFixed(3)).join(" · ")}`);
      for (const share of shares) expect(Math.abs(share - percentage)).toBeLessThan(0.5);
    },
  );

  test("F07: the buckets of 100,000 ids are uniform: chi-square over 100 groups", () => {
    const groups = new Array<number>(100).fill(0);
    for (const id of ids) {
      const group = Math.floor(bucketOf("late-checkout", id) / 100);
      groups[group] = (groups[group] ?? 0) + 1;
    }
    const expected = ids.length / groups.length;
    const chiSquare = groups.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    console.info(
      `chi-square with 99 degrees of freedom: ${chiSquare.toFixed(1)}; fewest ${Math.min(...groups)}, most ${Math.max(...groups)}`,
    );
    expect(chiSquare, "the 99.99 % quantile").toBeLessThan(161.3);
  });

  test("F07: raising the percentage turns no one off, at any of 10,000 steps", () => {
    const { seed } = seededRandom("monotone");
    const hundredths = fc.integer({ min: 0, max: 10_000 });
    fc.assert(
      fc.property(fc.string(), hundredths, hundredths, (value, a, b) => {
        const [low, high] = [Math.min(a, b) / 100, Math.max(a, b) / 100];
        if (isIncluded("f", low, value)) expect(isIncluded("f", high, value)).toBe(true);
      }),
      { seed, numRuns: 2_000 },
    );
    const value = ids[0] ?? "";
    const first = Array.from({ length: 10_001 }, (_, n) => n).filter((n) => isIncluded("f", n / 100, value));
    expect(first).toEqual(Array.from({ length: 10_000 - bucketOf("f", value) }, (_, n) => bucketOf("f", value) + 1 + n));
  });

  test("F07: two flags include independent tenants: 50 % of one have 50 % of the other", () => {
    const both = ids.filter((id) => isIncluded("first", 50, id) && isIncluded("second", 50, id)).length / ids.length * 100;
    const ofVariants = ids.filter((id) => isIncluded("first", 50, id) && weightedVariant("first", { a: 50, b: 50 }, id) === "a").length;
    console.info(`both: ${both.toFixed(2)} %; rollout and variant: ${(ofVariants / 1_000).toFixed(2)} %`);
    expect(Math.abs(both - 25)).toBeLessThan(0.5);
    expect(Math.abs(ofVariants / 1_000 - 25)).toBeLessThan(0.5);
  });

  test("F08: 100 % is on and 0 % is off without a value, and between them nothing is decided", () => {
    expect([100, 0, 50].map((percentage) => isIncluded("f", percentage, undefined))).toEqual([true, false, null]);
  });

  test("F11: weights share 100,000 ids within 0.5 points, whatever the order of their names", () => {
    const weights = { red: 50, blue: 30, green: 19.5, odd: 0.5, none: 0 };
    const counts: Record<string, number> = {};
    for (const id of ids) {
      const variant = weightedVariant("f", weights, id) ?? "";
      counts[variant] = (counts[variant] ?? 0) + 1;
    }
    console.info(`weights ${JSON.stringify(weights)}: ${JSON.stringify(counts)}`);
    expect(Object.keys(counts).sort()).toEqual(["blue", "green", "odd", "red"]);
    for (const [name, count] of Object.entries(counts)) {
      expect(Math.abs(count / 1_000 - weights[name as keyof typeof weights]), name).toBeLessThan(0.5);
    }
    const reversed = Object.fromEntries(Object.entries(weights).reverse());
    const moved = ids.slice(0, 5_000).filter((id) => weightedVariant("f", reversed, id) !== weightedVariant("f", weights, id));
    expect(moved).toEqual([]);
    expect(weightedVariant("f", weights, undefined)).toBe("blue");
  });
});
