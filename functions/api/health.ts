import type { Context } from "hono";
import type { AppEnv } from "./middleware/request-context.ts";

export const HEALTHY = { status: "ok" } as const;
const PATH = "/health";

/** Whether a request is a health check as it should be. It is answered before the rest of the API is loaded. */
export function isHealthCheck({ method, url }: Request, path: string): boolean {
  return path === PATH && (method === "GET" || method === "HEAD") && !url.includes("?");
}

export function answerHealthCheck(c: Context<AppEnv>): Response {
  c.set("route", PATH);
  return c.json(HEALTHY);
}
