import type { MiddlewareHandler } from "hono";

const ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE";
const ALLOWED_HEADERS =
  "authorization, apikey, content-type, if-match, if-none-match, idempotency-key, x-api-key, x-client-info, x-request-id, x-tenant-id";
const EXPOSED_HEADERS = "ETag, Link, Location, Retry-After, Server-Timing, WWW-Authenticate, X-Request-Id";
const PREFLIGHT_SECONDS = "7200"; // Chrome's own upper bound.

/**
 * CORS by allow-list (Fetch Standard §3.2). A listed origin is echoed and may send credentials; with
 * `*` in the list any origin may read, without credentials.
 */
export function cors(origins: readonly string[]): MiddlewareHandler {
  const listed = new Set(origins);
  return async (c, next) => {
    const origin = c.req.header("origin");
    const isPreflight = c.req.method === "OPTIONS" && origin !== undefined && c.req.header("access-control-request-method") !== undefined;
    if (isPreflight) c.res = c.body(null, 204);
    else await next();
    const { headers } = c.res;
    headers.append("vary", "Origin");
    const known = origin !== undefined && listed.has(origin);
    if (!known && !(origin !== undefined && listed.has("*"))) return;
    headers.set("access-control-allow-origin", known ? origin : "*");
    if (known) headers.set("access-control-allow-credentials", "true");
    if (!isPreflight) return headers.set("access-control-expose-headers", EXPOSED_HEADERS);
    headers.set("access-control-allow-methods", ALLOWED_METHODS);
    headers.set("access-control-allow-headers", ALLOWED_HEADERS);
    headers.set("access-control-max-age", PREFLIGHT_SECONDS);
  };
}
