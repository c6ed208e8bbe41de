import { z } from "zod";

const RESET = "\x1b[0m";
const COLOURS = { dim: "\x1b[2m", red: "\x1b[31m", green: "\x1b[32m", yellow: "\x1b[33m", cyan: "\x1b[36m" } as const;
type Colour = keyof typeof COLOURS;

/** The id of the requests that `npm start` itself sends while it waits for the API. They are not shown. */
export const OWN_REQUEST_ID = "npm-start";
/** The prefix of the ids of requests that the local page repeats. Only failed ones are shown. */
export const PAGE_REQUEST_ID = "local-page.";

const line = z.looseObject({ time: z.string(), level: z.string(), event: z.string() });
const request = z.looseObject({
  time: z.string(),
  event: z.literal("request"),
  requestId: z.string(),
  method: z.string(),
  path: z.string(),
  status: z.number(),
  durationMs: z.number(),
  code: z.string().optional(),
});

/** Formats a line of the API's log. Null: the line is not shown. */
export type LogFormat = (text: string) => string | null;

/** The line unchanged. */
export const asWritten: LogFormat = (text) => isOwnRequest(text) ? null : text;

function isOwnRequest(text: string): boolean {
  if (text.includes(`"requestId":"${PAGE_REQUEST_ID}`)) return /"status":[23]\d\d,/.test(text);
  return text.includes(`"requestId":"${OWN_REQUEST_ID}"`);
}

/** One short line per request: time, method, path, status and milliseconds; for an error also its code and the request id. */
export function forPeople(options: { readonly colours: boolean }): LogFormat {
  const paint = (colour: Colour, text: string) => options.colours ? `${COLOURS[colour]}${text}${RESET}` : text;
  return (text) => {
    if (isOwnRequest(text)) return null;
    const parsed = line.safeParse(parseJson(text));
    if (!parsed.success) return text;
    const served = request.safeParse(parsed.data);
    const time = paint("dim", clockTime(parsed.data.time));
    if (!served.success) return `${time}  ${paint(levelColour(parsed.data.level), wordsOf(parsed.data))}`;
    const { method, path, status, durationMs, code, requestId } = served.data;
    const parts = [
      time,
      `${method.padEnd(6)} ${printable(path)}`,
      paint(statusColour(status), String(status)),
      paint("dim", milliseconds(durationMs)),
      ...(status >= 400 ? [...(code === undefined ? [] : [code]), paint("dim", requestId)] : []),
    ];
    return parts.join("  ");
  };
}

/** A malformed target may hold any character; a terminal must not act on one. */
function printable(path: string): string {
  return path.replaceAll(/[^\x20-\x7e]/g, "?");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function clockTime(iso: string): string {
  const time = new Date(iso);
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

function milliseconds(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

function statusColour(status: number): Colour {
  if (status >= 500) return "red";
  if (status >= 400) return "yellow";
  return status >= 300 ? "cyan" : "green";
}

function levelColour(level: string): Colour {
  return level === "error" ? "red" : level === "warn" ? "yellow" : "dim";
}

/** Any other event: its name and its fields. The stack is shown only for a fault of the program. */
function wordsOf({ time: _time, level, event, stack, ...fields }: z.output<typeof line>): string {
  const details = Object.entries(fields).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const isFault = fields["code"] === undefined || fields["code"] === "internal";
  return [level, event, ...details].join(" ") + (isFault && typeof stack === "string" ? `\n${stack}` : "");
}
