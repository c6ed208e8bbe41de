import type { Context } from "hono";
import { parseUrl } from "../../shared/kernel/web-url.ts";

const GATEWAY_PREFIX = "/functions/v1/api";
/** On Supabase the gateway removes the rest of its prefix, so the function sees only its own name. */
const FUNCTION_PREFIX = "/api";

const ORIGIN_AND_PATH = /^[a-z]+:\/\/[^/?#]*([^?#]*)/i;

/**
 * The path of a request as it was sent. The runtime builds the URL from the Host header and the request target without
 * checking either, so the URL may be invalid. The middleware `wellFormedUrl` refuses such a request.
 */
export function pathOf({ url }: Request): string {
  return parseUrl(url)?.pathname ?? (ORIGIN_AND_PATH.exec(url)?.[1] || "/");
}

/** The path without the gateway's prefix or the function's name, so paths are the same on every host. */
export function internalPath(pathname: string): string {
  return strip(pathname, GATEWAY_PREFIX) ?? strip(pathname, FUNCTION_PREFIX) ?? pathname;
}

/** Returns a function that adds the prefix of the request to a path, so that the caller can request it. */
export function externalPath(c: Context): (path: string) => string {
  const { pathname } = new URL(c.req.url);
  const prefixed = strip(pathname, GATEWAY_PREFIX) ?? strip(pathname, FUNCTION_PREFIX);
  return (path) => prefixed === undefined ? path : GATEWAY_PREFIX + path;
}

function strip(pathname: string, prefix: string): string | undefined {
  if (pathname === prefix) return "/";
  return pathname.startsWith(`${prefix}/`) ? pathname.slice(prefix.length) : undefined;
}
