import type { MiddlewareHandler } from "hono";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import { parseUrl } from "../../../shared/kernel/web-url.ts";

/** The characters of a host and port (RFC 3986 §3.2). A `/` or `?` would become part of the path. */
const HOST = /^[\w.~!$&'()*+,;=:%[\]-]*$/;

/** Refuses a request whose Host header or target is malformed (RFC 9112 §3.2). After it, `new URL(c.req.url)` cannot throw. */
export function wellFormedUrl(): MiddlewareHandler {
  return async (c, next) => {
    if (!HOST.test(c.req.header("host") ?? "") || parseUrl(c.req.url) === null) {
      throw new InnkeepError("bad_request", "The Host header or the target of the request is malformed.");
    }
    await next();
  };
}
