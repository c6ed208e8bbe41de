import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";

const PREFLIGHT_SECONDS = 7_200; // Chrome's own upper bound.

/** CORS with a list of origins (Fetch Standard §3.2). A listed origin may send credentials. With `*`, any origin may call without them. */
export function corsByList(origins: readonly string[]): MiddlewareHandler {
  const any = origins.includes("*");
  return cors({
    origin: any ? "*" : [...origins],
    credentials: !any,
    allowMethods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    allowHeaders: [
      "authorization",
      "apikey",
      "content-type",
      "if-match",
      "if-none-match",
      "idempotency-key",
      "x-api-key",
      "x-client-info",
      "x-request-id",
      "x-tenant-id",
    ],
    exposeHeaders: [
      "ETag",
      "Idempotent-Replayed",
      "Link",
      "Location",
      "RateLimit",
      "RateLimit-Policy",
      "Retry-After",
      "Server-Timing",
      "WWW-Authenticate",
      "X-Request-Id",
    ],
    maxAge: PREFLIGHT_SECONDS,
  });
}
