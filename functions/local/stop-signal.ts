import process from "node:process";

/** Ends work because somebody asked for it: every `finally` on the way runs, and nothing is reported as wrong. */
export class Stopped extends Error {
  override readonly name = "Stopped";
}

const EXIT_CODE = 130;

/**
 * Aborts with `Stopped` at the first Ctrl-C, SIGTERM or closed terminal (SIGHUP). A later one ends this process at
 * once. npm passes on what the terminal has already sent, so repeats within a second are one.
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

/** The result of `work`, or `Stopped` as soon as that is asked for; nobody waits for the rest of the work then. */
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

/** Resolves when a stop is asked for. */
export async function asked(stopping: AbortSignal): Promise<void> {
  if (!stopping.aborted) await new Promise((resolve) => stopping.addEventListener("abort", resolve, { once: true }));
}
