/** Waits a random time of up to `baseMs × 2^attempt`, at most `maxMs` milliseconds: full jitter, so that concurrent retries spread out. */
export function jitteredPause(attempt: number, baseMs = 4, maxMs = 250): Promise<void> {
  const [random = 0] = crypto.getRandomValues(new Uint32Array(1));
  const delayMs = (random / 2 ** 32) * Math.min(maxMs, baseMs * 2 ** attempt);
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}
