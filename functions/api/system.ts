import { z } from "zod";
import { assertSchemaVersion } from "../../shared/adapters/migrator.ts";
import { type Route, verb } from "../../shared/core/route.ts";
import type { UnitOfWork } from "../../shared/core/unit-of-work.ts";

class SystemService {
  constructor(private readonly work: UnitOfWork) {}

  async ready() {
    const { migration, pending, refusesWrites } = await this.work.store.ping();
    assertSchemaVersion(migration);
    return { status: "ready" as const, migration, pending: [...pending], refusesWrites };
  }
}

/** What a load balancer and a client generator ask; no credential. */
export function systemRoutes(document: () => Promise<Record<string, unknown>>): readonly Route[] {
  const open = { service: SystemService, scope: "public" } as const;
  return [
    verb("GET /health", {
      ...open,
      operationId: "getHealth",
      summary: "Whether the process answers",
      description: "Touches nothing else.",
      output: z.object({ status: z.literal("ok") }),
      run: () => ({ status: "ok" as const }),
    }),
    verb("GET /ready", {
      ...open,
      operationId: "getReadiness",
      summary: "Whether the store answers, with the schema this program needs",
      description:
        "`migration` is its newest migration, `pending` what `npm run migrate` has still to build: lists work meanwhile, by a scan. " +
        "`refusesWrites` says why only reads work, null when writes do.",
      errors: ["store_unavailable", "schema_mismatch"],
      output: z.object({
        status: z.literal("ready"),
        migration: z.string().nullable(),
        pending: z.array(z.string()),
        refusesWrites: z.string().nullable(),
      }),
      run: ({ service }) => service.ready(),
    }),
    verb("GET /openapi.json", {
      ...open,
      operationId: "getOpenApi",
      summary: "This API as OpenAPI 3.1",
      output: z.looseObject({ openapi: z.string() }),
      run: async () => ({ openapi: "3.1.0", ...await document() }),
    }),
  ];
}
