import { z } from "zod";
import { assertSchemaVersion } from "../../shared/adapters/migrator.ts";
import { Reply } from "../../shared/core/reply.ts";
import { type Route, verb } from "../../shared/core/route.ts";
import { HEALTHY } from "./health.ts";
import { sha256Hex } from "../../shared/kernel/sha256.ts";
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
  let file: Reply | undefined;
  return [
    verb("GET /health", {
      ...open,
      operationId: "getHealth",
      summary: "Whether the process answers",
      description: "Touches nothing else.",
      output: z.object({ status: z.literal("ok") }).meta({ examples: [{ status: "ok" }] }),
      run: () => HEALTHY,
    }),
    verb("GET /ready", {
      ...open,
      operationId: "getReadiness",
      summary: "Whether the store answers, with the schema this program needs",
      description:
        "`migration` is its newest migration, `pending` what `npm run migrate` has still to build: lists work meanwhile, by a scan. " +
        "`refusesWrites` is the reason why writes are refused, or null.",
      errors: ["store_unavailable", "schema_mismatch"],
      output: z.object({
        status: z.literal("ready"),
        migration: z.string().nullable(),
        pending: z.array(z.string()),
        refusesWrites: z.string().nullable(),
      }).meta({ examples: [{ status: "ready", migration: "20260101000000_kv.sql", pending: [], refusesWrites: null }] }),
      run: ({ service }) => service.ready(),
    }),
    verb("GET /openapi.json", {
      ...open,
      operationId: "getOpenApi",
      summary: "This API as OpenAPI 3.1",
      description: "Its ETag is the text's digest. It is sent compressed where Accept-Encoding allows.",
      etag: true,
      output: z.object({ openapi: z.string() }).catchall(z.json()).meta({ examples: [{ openapi: "3.1.0" }] }),
      run: async () => file ??= await withDigest(await document()),
    }),
  ];
}

async function withDigest(document: Record<string, unknown>): Promise<Reply> {
  return new Reply(200, document, { version: await sha256Hex(JSON.stringify(document)) });
}
