import type { Clock } from "../../shared/kernel/clock.ts";
import { type ByteSink, LineWriter } from "../../shared/kernel/line-writer.ts";
import { logLine, type LogWriter } from "../../shared/kernel/logger.ts";

/** The parts of Deno that this file uses, all present in Deno 2.1. */
interface Runtime {
  readonly Deno: {
    readonly stdout: ByteSink;
    readonly build: { readonly os: string };
    addSignalListener(signal: string, listener: () => void): void;
    exit(code: number): never;
  };
  addEventListener(type: string, listener: (event: Event & { readonly error?: unknown; readonly reason?: unknown }) => void): void;
}

/** Signals that end a process by default, with the exit code that a shell reports for them. */
const SIGNALS = [["SIGHUP", 129], ["SIGINT", 130], ["SIGTERM", 143]] as const;
const WINDOWS_SIGNALS = [["SIGINT", 130], ["SIGBREAK", 149]] as const;
const MAX_STACK_CHARS = 2_000;

/**
 * Returns the writer of the log. Under Deno it writes the lines of a few milliseconds to standard output together, because
 * each write costs CPU time. The remaining lines are written before the process ends, except after `kill -9`.
 *
 * Supabase's Edge Runtime turns each `console.log` into one event and cuts it at 10,000 characters. Lines written together
 * would be one broken event, so there each line is a call of `consoleLine`.
 */
export function standardLog(globals: object, clock: Clock, consoleLine: (line: string) => void): LogWriter {
  if ("EdgeRuntime" in globals) return consoleLine;
  // The entry file passes its own global object, which is Deno's here.
  const runtime = globals as Runtime;
  const writer = new LineWriter(
    runtime.Deno.stdout,
    (count, reason) => logLine(clock.now(), "warn", "log_lines_lost", { count, reason }),
  );
  const write: LogWriter = (line, level) => writer.line(line, level === "error");
  flushAtEnd(runtime, writer, (event, fault) => {
    const error = fault instanceof Error ? `${fault.name}: ${fault.message}` : String(fault);
    const stack = fault instanceof Error ? (fault.stack ?? "").slice(0, MAX_STACK_CHARS) : "";
    write(logLine(clock.now(), "error", event, { error, stack }), "error");
  });
  return write;
}

function flushAtEnd(runtime: Runtime, writer: LineWriter, logFault: (event: string, fault: unknown) => void): void {
  const end = (code: number) => {
    void writer.flush().then(() => runtime.Deno.exit(code));
  };
  const signals = runtime.Deno.build.os === "windows" ? WINDOWS_SIGNALS : SIGNALS;
  for (const [signal, code] of signals) runtime.Deno.addSignalListener(signal, () => end(code));
  // Ends with code 1, as the runtime would, but first writes the remaining lines and the error.
  runtime.addEventListener("error", (event) => {
    event.preventDefault();
    logFault("uncaught_error", event.error);
    end(1);
  });
  runtime.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    logFault("unhandled_rejection", event.reason);
    end(1);
  });
  runtime.addEventListener("unload", () => writer.flushSync());
}
