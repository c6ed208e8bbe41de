import murmurhash from "murmurhash";

/** Buckets of a percentage: one is a hundredth of a percent. */
const BUCKETS = 10_000;

const encoder = new TextEncoder();
/** Holds 256 characters. The library would make an encoder and an array for each text, which takes five times as long as the hash. */
const scratch = new Uint8Array(3 * 256);

/** The bucket of a value for one flag, 0–9,999: murmur3 (32 bit, seed 0) of the UTF-8 text `<flag key>:<value>`, modulo 10,000. */
export function bucketOf(flagKey: string, value: string): number {
  return murmurhash.v3(utf8Of(`${flagKey}:${value}`), 0) % BUCKETS;
}

/** Valid until the next call. */
function utf8Of(text: string): Uint8Array {
  return text.length * 3 > scratch.length ? encoder.encode(text) : scratch.subarray(0, encoder.encodeInto(text, scratch).written);
}

/** Whether the percentage includes the value. Null if that needs a value and there is none: 0 % and 100 % need none. */
export function isIncluded(flagKey: string, percentage: number, value: string | undefined): boolean | null {
  if (percentage >= 100) return true;
  if (percentage <= 0) return false;
  return value === undefined ? null : bucketOf(flagKey, value) < Math.round(percentage * 100);
}

/**
 * The variant of a value by weight. Its bucket is another one than that of the rollout, so that raising the percentage moves no tenant
 * to another variant. Weights are read in the order of the names. Without a value: the first variant with a weight.
 */
export function weightedVariant(flagKey: string, weights: Readonly<Record<string, number>>, value: string | undefined): string | undefined {
  const names = Object.keys(weights).filter((name) => (weights[name] ?? 0) > 0).sort();
  if (value === undefined) return names[0];
  const bucket = bucketOf(`${flagKey}:variant`, value);
  let end = 0;
  return names.find((name) => bucket < (end += Math.round((weights[name] ?? 0) * 100))) ?? names.at(-1);
}
