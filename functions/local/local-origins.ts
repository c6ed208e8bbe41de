import type { Handler } from "./runtime.ts";

/** What the API is told to allow; it stands for every local origin. */
export const STAND_IN = "http://localhost";
const LOCAL = /^https?:\/\/(localhost|127\.0\.0\.1)(:\d{1,5})?$/;
const ALLOWED = "access-control-allow-origin";

/** Local frontends are let in beside those listed; with `*` every origin is, and nothing stands beside it. */
export function withLocalOrigins(own: string): string {
  return own.trim() === "*" ? "*" : [own, STAND_IN].filter(Boolean).join(",");
}

/**
 * Lets a frontend on any port of this machine call the API, whose list holds whole origins: the API is asked as by
 * the one it knows, and its answer names the one that asked.
 */
export function allowLocalOrigins(handle: Handler): Handler {
  return async (request) => {
    const origin = request.headers.get("origin");
    if (origin === null || !LOCAL.test(origin)) return await handle(request);
    const headers = new Headers(request.headers);
    headers.set("origin", STAND_IN);
    const response = await handle(new Request(request, { headers }));
    if (response.headers.get(ALLOWED) === STAND_IN) response.headers.set(ALLOWED, origin);
    return response;
  };
}
