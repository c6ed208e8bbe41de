import process from "node:process";

/** Thrown to end work on request. Every `finally` runs, and no error is reported. */
export class Stopped extends Error {
  override readonly name = "Stopped";
}

const EXIT_CODE = 130;

/**
 * Returns a signal that aborts with `Stopped` on the first SIGINT, SIGTERM or SIGHUP. A later one ends the process at once.
 * Repeats within a second count as one, because npm forwards signals that the terminal has already sent.
 */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  let askedAtMs: number | null = null;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (askedAtMs !== null && performance.now() - askedAtMs > 1_000) process.exit(EXIT_CODE);
      askedAtMs ??= performance.now();
      process.exitCode = EXIT_CODE;
      controller.abort(new Stopped("stopped"));
    });
  }
  return controller.signal;
}

/** Returns the result of `work`. Throws `Stopped` as soon as a stop is requested, without waiting for the work to end. */
export async function orStopped<T>(stopping: AbortSignal, work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  let onAbort = (): void => undefined;
  const stopped = new Promise<never>((_, reject) => {
    onAbort = () => reject(stopping.reason as Error);
    if (stopping.aborted) onAbort();
    else stopping.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([work, stopped]);
  } finally {
    stopping.removeEventListener("abort", onAbort);
  }
}

/** Resolves when a stop is requested. */
export async function asked(stopping: AbortSignal): Promise<void> {
  if (!stopping.aborted) await new Promise((resolve) => stopping.addEventListener("abort", resolve, { once: true }));
}
