/** Waits a random time of up to `baseMs × 2^attempt`, at most `maxMs` milliseconds: full jitter, so that concurrent retries spread out. */
export function jitteredPause(attempt: number, baseMs = 4, maxMs = 250): Promise<void> {
  const delayMs = randomFraction() * Math.min(maxMs, baseMs * 2 ** attempt);
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

/** A random number from 0 (inclusive) to 1, for jitter. */
export function randomFraction(): number {
  const [random = 0] = crypto.getRandomValues(new Uint32Array(1));
  return random / 2 ** 32;
}
