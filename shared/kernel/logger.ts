/** One structured line an event. Fields are plain values; the writer decides where a line goes. */
export interface Logger {
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

const MAX_LINE_CHARS = 9_900; // Edge Functions cut a line at 10,000 characters.

/** JSON lines on `write`; a line over the platform's limit loses its longest field, never its shape. */
export function jsonLogger(write: (line: string) => void, now: () => number): Logger {
  const emit = (level: string, event: string, fields: LogFields = {}) => {
    const head = { time: new Date(now()).toISOString(), level, event };
    const line = JSON.stringify({ ...head, ...fields });
    write(line.length <= MAX_LINE_CHARS ? line : JSON.stringify({ ...head, ...shorten(fields), truncated: true }));
  };
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

export const silentLogger: Logger = { info() {}, warn() {}, error() {} };
