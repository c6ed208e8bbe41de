import type { MiddlewareHandler } from "hono";
import { newRequestId } from "../../../shared/kernel/ids.ts";
import type { Logger } from "../../../shared/kernel/logger.ts";
import { since } from "../elapsed.ts";

/** What middleware leaves for those after it. */
export interface AppEnv {
  Variables: {
    requestId: string;
    /** The route's pattern, never the path: it is what a log can be grouped by. */
    route: string;
    caller: string;
    tenantId: string | null;
    /** Milliseconds spent on finding out who calls, and in the services and their store. */
    authMs: number;
    storeMs: number;
    /** The client went away in the middle of its request; what it is answered reaches nobody. */
    clientClosed: boolean;
  };
}

const REQUEST_ID = /^[A-Za-z0-9._~-]{1,128}$/;

const SECURITY_HEADERS: readonly (readonly [string, string])[] = [
  ["x-content-type-options", "nosniff"],
  ["x-frame-options", "DENY"],
  ["referrer-policy", "no-referrer"],
  ["content-security-policy", "default-src 'none'; frame-ancestors 'none'"],
  ["strict-transport-security", "max-age=31536000; includeSubDomains"],
  ["cross-origin-resource-policy", "cross-origin"],
];

/** Request id, security headers, Server-Timing, and one log line a request: no body, no query, no secret. */
export function requestContext(logger: Logger): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const startedAt = performance.now();
    const given = c.req.header("x-request-id");
    const requestId = given !== undefined && REQUEST_ID.test(given) ? given : newRequestId();
    c.set("requestId", requestId);
    await next();
    const durationMs = since(startedAt);
    const { headers } = c.res;
    headers.set("x-request-id", requestId);
    headers.set("server-timing", `auth;dur=${c.get("authMs") ?? 0}, store;dur=${c.get("storeMs") ?? 0}, total;dur=${durationMs}`);
    for (const [name, value] of SECURITY_HEADERS) if (!headers.has(name)) headers.set(name, value);
    if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
    logger.info("request", {
      requestId,
      method: c.req.method,
      route: c.get("route") ?? "unmatched",
      status: c.res.status,
      durationMs,
      caller: c.get("caller") ?? "anonymous",
      tenantId: c.get("tenantId") ?? null,
      ...(c.get("clientClosed") ? { status: 499, code: "client_closed_request" } : {}),
    });
  };
}
