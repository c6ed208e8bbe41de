import { z } from "zod";

const RESET = "\x1b[0m";
const COLOURS = { dim: "\x1b[2m", red: "\x1b[31m", green: "\x1b[32m", yellow: "\x1b[33m", cyan: "\x1b[36m" } as const;
type Colour = keyof typeof COLOURS;

/** What the start itself asks while it waits for the API; nobody wants to read it. */
export const OWN_REQUEST_ID = "npm-start";
/** How the ids begin of what the page of the local stack asks over and over; its failures are shown. */
export const PAGE_REQUEST_ID = "local-page.";

const line = z.looseObject({ time: z.string(), level: z.string(), event: z.string() });
const request = z.looseObject({
  time: z.string(),
  event: z.literal("request"),
  requestId: z.string(),
  method: z.string(),
  route: z.string(),
  status: z.number(),
  durationMs: z.number(),
  tenantId: z.string().nullish(),
});

/** How a line of the API's log is shown: as it is, or for a person at a terminal. Null: not at all. */
export type LogFormat = (text: string) => string | null;

export const asWritten: LogFormat = (text) => isOwnRequest(text) ? null : text;

function isOwnRequest(text: string): boolean {
  if (text.includes(`"requestId":"${PAGE_REQUEST_ID}`)) return /"status":[23]\d\d,/.test(text);
  return text.includes(`"requestId":"${OWN_REQUEST_ID}"`);
}

/** One short line a request: time, method, path, status, milliseconds. The log has the path's pattern and the tenant's id. */
export function forPeople(options: { readonly colours: boolean }): LogFormat {
  const paint = (colour: Colour, text: string) => options.colours ? `${COLOURS[colour]}${text}${RESET}` : text;
  return (text) => {
    if (isOwnRequest(text)) return null;
    const parsed = line.safeParse(parseJson(text));
    if (!parsed.success) return text;
    const asked = request.safeParse(parsed.data);
    const time = paint("dim", clockTime(parsed.data.time));
    if (!asked.success) return `${time}  ${paint(levelColour(parsed.data.level), wordsOf(parsed.data))}`;
    const { method, route, status, durationMs, tenantId } = asked.data;
    const path = tenantId ? route.replace(":tenantId", tenantId) : route;
    return `${time}  ${method.padEnd(6)} ${path}  ${paint(statusColour(status), String(status))}  ${
      paint("dim", milliseconds(durationMs))
    }`;
  };
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

/** An event that is no request: its name and its fields. The stack is shown of a fault of the program alone. */
function wordsOf({ time: _time, level, event, stack, ...fields }: z.output<typeof line>): string {
  const details = Object.entries(fields).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const isFault = fields["code"] === undefined || fields["code"] === "internal";
  return [level, event, ...details].join(" ") + (isFault && typeof stack === "string" ? `\n${stack}` : "");
}
