import type { Context } from "hono";

const GATEWAY_PREFIX = "/functions/v1/api";
/** What the function sees of its own name on Supabase, where the gateway has taken the rest. */
const FUNCTION_PREFIX = "/api";

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
