import type { Context, MiddlewareHandler } from "hono";
import { InnkeepError } from "../../shared/kernel/errors.ts";

const GATEWAY_PREFIX = "/functions/v1/api";
/** What the function sees of its own name on Supabase, where the gateway has taken the rest. */
const FUNCTION_PREFIX = "/api";

/** The characters of a host and port (RFC 3986 §3.2); a `/` or `?` would become part of the path. */
const HOST = /^[\w.~!$&'()*+,;=:%[\]-]*$/;
const ORIGIN_AND_PATH = /^[a-z]+:\/\/[^/?#]*([^?#]*)/i;

/**
 * The path of a request as it was sent. The runtime joins an address from the Host header and the request's target
 * without looking at either: such an address may be none, which {@link wellFormedUrl} refuses.
 */
export function pathOf({ url }: Request): string {
  return URL.canParse(url) ? new URL(url).pathname : ORIGIN_AND_PATH.exec(url)?.[1] || "/";
}

/** Refuses a request whose Host header or target is malformed (RFC 9112 §3.2). After it, `new URL` of the request cannot throw. */
export const wellFormedUrl: MiddlewareHandler = async (c, next) => {
  if (!HOST.test(c.req.header("host") ?? "") || !URL.canParse(c.req.url)) {
    throw new InnkeepError("bad_request", "The Host header or the target of the request is malformed.");
  }
  await next();
};

/** The path from the API's root: the function strips its own name, so paths are the same everywhere. */
export function internalPath(pathname: string): string {
  return strip(pathname, GATEWAY_PREFIX) ?? strip(pathname, FUNCTION_PREFIX) ?? pathname;
}

/** Turns a path of the API into one the caller can ask for. */
export function externalPath(c: Context): (path: string) => string {
  const { pathname } = new URL(c.req.url);
  const prefixed = strip(pathname, GATEWAY_PREFIX) ?? strip(pathname, FUNCTION_PREFIX);
  return (path) => prefixed === undefined ? path : GATEWAY_PREFIX + path;
}

function strip(pathname: string, prefix: string): string | undefined {
  if (pathname === prefix) return "/";
  return pathname.startsWith(`${prefix}/`) ? pathname.slice(prefix.length) : undefined;
}
