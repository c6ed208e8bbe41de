/** Writes one structured line per event. */
export interface Logger {
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export type LogLevel = "info" | "warn" | "error";

/** Receives one line of the log, without a line break. */
export type LogWriter = (line: string, level: LogLevel) => void;

const MAX_LINE_CHARS = 9_900; // Edge Functions cut a line at 10,000 characters.

/** One line of the log as JSON. In a line over the limit, texts are cut to 300 characters and `truncated` is true. */
export function logLine(now: number, level: LogLevel, event: string, fields: LogFields = {}): string {
  const head = { time: new Date(now).toISOString(), level, event };
  const line = JSON.stringify({ ...head, ...fields });
  return line.length <= MAX_LINE_CHARS ? line : JSON.stringify({ ...head, ...shorten(fields), truncated: true });
}

/** A logger that passes JSON lines to `write`. `now` returns milliseconds since the Unix epoch. */
export function jsonLogger(write: LogWriter, now: () => number): Logger {
  const emit = (level: LogLevel, event: string, fields?: LogFields) => write(logLine(now(), level, event, fields), level);
  return {
    info: (event, fields) => emit("info", event, fields),
    warn: (event, fields) => emit("warn", event, fields),
    error: (event, fields) => emit("error", event, fields),
  };
}

function shorten(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, typeof value === "string" ? value.slice(0, 300) : value]),
  );
}

/** A logger that discards everything. */
export const silentLogger: Logger = { info() {}, warn() {}, error() {} };
