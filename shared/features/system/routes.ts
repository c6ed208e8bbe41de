import { z } from "zod";
import { assertSchemaVersion } from "../../adapters/migrator.ts";
import type { Store } from "../../kv/store.ts";
import { defineRoute, type Route } from "../../core/route.ts";
import { answer } from "../../core/reply.ts";

/** What a load balancer and a client generator ask; no credential. */
export function systemRoutes(store: Store, document: () => Record<string, unknown>): Route[] {
  return [
    defineRoute({
      method: "GET",
      path: "/health",
      operationId: "health",
      summary: "Whether the process answers; touches nothing",
      scope: "public",
      responses: { 200: { description: "It does.", schema: z.object({ status: z.literal("ok") }) } },
      handler: () => answer({ status: "ok" as const }),
    }),
    defineRoute({
      method: "GET",
      path: "/ready",
      operationId: "ready",
      summary: "Whether the store answers, with the schema this program needs",
      scope: "public",
      errors: ["store_unavailable", "schema_mismatch"],
      responses: {
        200: {
          description:
            "It does; `migration` is its newest, `pending` what `npm run migrate` has still to build: lists work meanwhile, by a scan. " +
            "`refusesWrites` says why only reads work, null when writes do.",
          schema: z.object({
            status: z.literal("ready"),
            migration: z.string().nullable(),
            pending: z.array(z.string()),
            refusesWrites: z.string().nullable(),
          }),
        },
      },
      handler: async () => {
        const { migration, pending, refusesWrites } = await store.ping();
        assertSchemaVersion(migration);
        return answer({ status: "ready" as const, migration, pending: [...pending], refusesWrites });
      },
    }),
    defineRoute({
      method: "GET",
      path: "/openapi.json",
      operationId: "openapi",
      summary: "This API as OpenAPI 3.1",
      scope: "public",
      responses: { 200: { description: "The file.", schema: z.looseObject({ openapi: z.string() }) } },
      handler: () => answer({ openapi: "3.1.0", ...document() }),
    }),
  ];
}
