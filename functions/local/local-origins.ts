import type { Handler } from "./runtime.ts";

/** The one origin in the API's list that represents all local origins. */
export const STAND_IN = "http://localhost";
const LOCAL = /^https?:\/\/(localhost|127\.0\.0\.1)(:\d{1,5})?$/;
const ALLOWED = "access-control-allow-origin";

/** Adds local frontends to the configured origins. `*` already allows every origin and must be the only entry. */
export function withLocalOrigins(own: string): string {
  return own.trim() === "*" ? "*" : [own, STAND_IN].filter(Boolean).join(",");
}

/**
 * Lets frontends on any local port call the API, whose list has only complete origins. Replaces a local origin with the
 * listed one in the request, and restores the original in the response.
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
