import type { Context } from "hono";
import type { AppEnv } from "./middleware/request-context.ts";

export const HEALTHY = { status: "ok" } as const;
const PATH = "/health";

/** Whether the request is a valid health check, which needs no other module of the API. */
export function isHealthCheck({ method, url }: Request, path: string): boolean {
  return path === PATH && (method === "GET" || method === "HEAD") && !url.includes("?");
}

export function answerHealthCheck(c: Context<AppEnv>): Response {
  c.set("route", PATH);
  return c.json(HEALTHY);
}
