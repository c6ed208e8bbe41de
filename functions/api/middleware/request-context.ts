import type { MiddlewareHandler } from "hono";
import type { InnkeepError } from "../../../shared/kernel/errors.ts";
import { newRequestId } from "../../../shared/kernel/ids.ts";
import type { Logger } from "../../../shared/kernel/logger.ts";
import { since } from "../elapsed.ts";

/** The values that the steps of a request set for the steps after them. */
export interface AppEnv {
  Variables: {
    requestId: string;
    /** The pattern of the route, by which a log can be grouped. */
    route: string;
    caller: string;
    tenantId: string | null;
    /** Milliseconds spent on authentication, and in the services and the store. */
    authMs: number;
    storeMs: number;
    /** The code of the error that the response reports. */
    code: string;
    /** States an error in the protocol of the route, if it has one. */
    restate: (error: InnkeepError) => InnkeepError;
    /** The values of the headers RateLimit-Policy and RateLimit. */
    rateLimit: { readonly policy: string; readonly state: string };
    /** The client disconnected while it sent its request. */
    clientClosed: boolean;
  };
}

const MAX_PATH_CHARS = 500;
const REDACTED = "[redacted]";
/** An API key that was sent as a part of the path, also percent-encoded. */
const SECRET = /ik(?:_|%5f)(?:live|test)(?:_|%5f)[\w%]*/gi;
const REQUEST_ID = /^[A-Za-z0-9._~-]{1,128}$/;

/** No RFC defines it: nginx logs a client that disconnected before its response with this status. */
const CLIENT_CLOSED = 499;
/** Clients give up on slow requests. Others are not checked: reading a request's signal took Deno about 10 µs. */
const SLOW_MS = 100;

const SECURITY_HEADERS: readonly (readonly [string, string])[] = [
  ["x-content-type-options", "nosniff"],
  ["x-frame-options", "DENY"],
  ["referrer-policy", "no-referrer"],
  ["content-security-policy", "default-src 'none'; frame-ancestors 'none'"],
  ["strict-transport-security", "max-age=31536000; includeSubDomains"],
  ["cross-origin-resource-policy", "cross-origin"],
];

/** Sets the request id, the security headers and Server-Timing, and logs one line per request, without body, query or secrets. */
export function requestContext(logger: Logger): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const startedAt = performance.now();
    const given = c.req.header("x-request-id");
    const requestId = given !== undefined && REQUEST_ID.test(given) && given.search(SECRET) === -1 ? given : newRequestId();
    c.set("requestId", requestId);
    await next();
    const durationMs = since(startedAt);
    const { headers } = c.res;
    headers.set("x-request-id", requestId);
    headers.set("server-timing", `auth;dur=${c.get("authMs") ?? 0}, store;dur=${c.get("storeMs") ?? 0}, total;dur=${durationMs}`);
    const rateLimit = c.get("rateLimit");
    if (rateLimit) {
      headers.set("ratelimit-policy", rateLimit.policy);
      headers.set("ratelimit", rateLimit.state);
    }
    for (const [name, value] of SECURITY_HEADERS) if (!headers.has(name)) headers.set(name, value);
    if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
    if (c.req.method === "HEAD" && c.res.body) headers.set("content-length", String((await c.res.clone().arrayBuffer()).byteLength));
    const isClosed = c.get("clientClosed") || durationMs > SLOW_MS && await hasDisconnected(c.req.raw);
    logger.info("request", {
      requestId,
      method: c.req.method,
      route: c.get("route") ?? "unmatched",
      path: c.req.path.slice(0, MAX_PATH_CHARS).replaceAll(SECRET, REDACTED),
      status: c.res.status,
      durationMs,
      caller: c.get("caller") ?? "anonymous",
      tenantId: c.get("tenantId")?.replaceAll(SECRET, REDACTED) ?? null,
      code: c.get("code"),
      ...(isClosed ? { status: CLIENT_CLOSED, code: "client_closed_request", unsentStatus: c.res.status } : {}),
    });
  };
}

/** Whether the client has closed the connection. Deno reports it in the next turn of the event loop. */
async function hasDisconnected({ signal }: Request): Promise<boolean> {
  if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, 0));
  return signal.aborted;
}
