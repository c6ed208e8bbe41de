import type { Context } from "hono";
import { isMutation, type Route } from "../../shared/core/route.ts";
import { FileReply, Redirect, type Reply } from "../../shared/core/reply.ts";
import { etagOf, noneMatches } from "./conditional.ts";

/** Turns a handler's reply into a Response: status, ETag or 304, Location, Link. */
export function respond(c: Context, route: Route, reply: Reply, external: (path: string) => string): Response {
  const headers = new Headers();
  if (reply.version !== undefined) {
    headers.set("etag", etagOf(reply.version));
    const isPublic = route.scope === "public";
    headers.set("cache-control", route.shownOnce ? "no-store" : isPublic ? "public, no-cache" : "private, no-cache");
    if (!isPublic) headers.set("vary", "Authorization, X-API-Key, X-Tenant-Id");
    if (!isMutation(route) && noneMatches(c.req.header("if-none-match"), reply.version)) {
      return new Response(null, { status: 304, headers });
    }
  }
  if (reply.location !== undefined) headers.set("location", external(reply.location));
  if (reply.next !== undefined) headers.set("link", `<${external(nextPage(c, reply.next))}>; rel="next"`);
  if (reply instanceof FileReply) return sent(reply, headers);
  if (reply instanceof Redirect) return redirected(reply, headers);
  if (reply.status === 204) return new Response(null, { status: 204, headers });
  headers.set("content-type", "application/json");
  return new Response(JSON.stringify(reply.body), { status: reply.status, headers });
}

/** A file. Its name is quoted as it is (RFC 6266): its characters need no escapes. */
function sent({ content, file: { name, type } }: FileReply, headers: Headers): Response {
  headers.set("content-type", type);
  headers.set("content-disposition", `attachment; filename="${name}"`);
  headers.set("cache-control", "no-store");
  return new Response(content, { status: 200, headers });
}

/** Not cached: the next browser is counted too, and the target can change. */
function redirected({ target }: Redirect, headers: Headers): Response {
  headers.set("location", target);
  headers.set("cache-control", "no-store");
  return new Response(null, { status: 302, headers });
}

/** The path of the next page: the same query with a cursor instead of a page number. */
function nextPage(c: Context, cursor: string): string {
  const query = new URL(c.req.url).searchParams;
  query.delete("page");
  query.set("cursor", cursor);
  return `${c.req.path}?${query}`;
}
