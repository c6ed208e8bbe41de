import type { Clock } from "../../shared/kernel/clock.ts";
import { type ByteSink, LineWriter } from "../../shared/kernel/line-writer.ts";
import { logLine, type LogWriter } from "../../shared/kernel/logger.ts";

/** What this takes from Deno; no newer than Deno 2.1 has. */
interface Runtime {
  readonly Deno: {
    readonly stdout: ByteSink;
    readonly build: { readonly os: string };
    addSignalListener(signal: string, listener: () => void): void;
    exit(code: number): never;
  };
  addEventListener(type: string, listener: (event: Event & { readonly error?: unknown; readonly reason?: unknown }) => void): void;
}

/** Signals that end the process unless listened to, with the exit code a shell shows for them. */
const SIGNALS = [["SIGHUP", 129], ["SIGINT", 130], ["SIGTERM", 143]] as const;
const WINDOWS_SIGNALS = [["SIGINT", 130], ["SIGBREAK", 149]] as const;
const LAST_WRITE_MS = 1_000;
const MAX_STACK_CHARS = 2_000;

/**
 * Takes the lines of the log. A process of its own writes them to its standard output, those of a few milliseconds at
 * once: a write for each costs CPU time. Whatever ends it, but `kill -9`, writes them first.
 *
 * Supabase's Edge Runtime makes one event of each `console.log` and cuts it at 10,000 characters, so that lines
 * written together would be one broken event there: it gets one call a line.
 */
export function standardLog(globals: object, clock: Clock, consoleLine: (line: string) => void): LogWriter {
  if ("EdgeRuntime" in globals) return consoleLine;
  // The entry file's own global object, under Deno.
  const runtime = globals as Runtime;
  const writer = new LineWriter(
    runtime.Deno.stdout,
    (count, reason) => logLine(clock.now(), "warn", "log_lines_lost", { count, reason }),
  );
  const write: LogWriter = (line, level) => writer.line(line, level === "error");
  flushAtTheEnd(runtime, writer, (event, fault) => {
    const error = fault instanceof Error ? `${fault.name}: ${fault.message}` : String(fault);
    const stack = fault instanceof Error ? (fault.stack ?? "").slice(0, MAX_STACK_CHARS) : "";
    write(logLine(clock.now(), "error", event, { error, stack }), "error");
  });
  return write;
}

function flushAtTheEnd(runtime: Runtime, writer: LineWriter, say: (event: string, fault: unknown) => void): void {
  const end = (code: number) => {
    const late = new Promise((resolve) => setTimeout(resolve, LAST_WRITE_MS));
    void Promise.race([writer.flush(), late]).then(() => runtime.Deno.exit(code));
  };
  const signals = runtime.Deno.build.os === "windows" ? WINDOWS_SIGNALS : SIGNALS;
  for (const [signal, code] of signals) runtime.Deno.addSignalListener(signal, () => end(code));
  // As the runtime would: the process ends with code 1, but its last lines and the reason are in the log.
  runtime.addEventListener("error", (event) => {
    event.preventDefault();
    say("uncaught_error", event.error);
    end(1);
  });
  runtime.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    say("unhandled_rejection", event.reason);
    end(1);
  });
  runtime.addEventListener("unload", () => writer.flushSync());
}
