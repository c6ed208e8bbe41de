/** Milliseconds since `startedAt`, a value of `performance.now()`, rounded to hundredths. */
export function since(startedAt: number): number {
  return Math.round((performance.now() - startedAt) * 100) / 100;
}
