import { z } from "zod";
import { assertSchemaVersion } from "../../shared/adapters/migrator.ts";
import { Reply } from "../../shared/core/reply.ts";
import { type Route, verb } from "../../shared/core/route.ts";
import type { JobsLateness } from "../../shared/features/jobs/lateness.ts";
import { HEALTHY } from "./health.ts";
import { sha256Hex } from "../../shared/kernel/sha256.ts";
import type { UnitOfWork } from "../../shared/core/unit-of-work.ts";

const JOBS_TIMEOUT_MS = 1_000;

class SystemService {
  constructor(private readonly work: UnitOfWork) {}

  async ready() {
    const [{ migration, pending, refusesWrites }, jobs] = await Promise.all([this.work.store.ping(), this.#jobs()]);
    assertSchemaVersion(migration);
    const auditKey = this.work.platform.auditKey === null ? "missing" as const : "configured" as const;
    return {
      status: "ready" as const,
      migration,
      pending: [...pending],
      refusesWrites,
      auditKey,
      jobs: jobs && { ...jobs, overdue: [...jobs.overdue] },
    };
  }

  /** Null if the read fails or takes too long: other calls may occupy all connections, and readiness must not wait for them. */
  async #jobs(): Promise<JobsLateness | null> {
    const { latenessOf } = await import("../../shared/features/jobs/lateness.ts");
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), JOBS_TIMEOUT_MS));
    const read = latenessOf(this.work).catch(() => null);
    return await Promise.race([read, late]).finally(() => clearTimeout(timer));
  }
}

const READY = {
  status: "ready",
  migration: "20260101000000_kv.sql",
  pending: [],
  refusesWrites: null,
  auditKey: "configured",
  jobs: { ageSeconds: 0, overdue: [] },
};

/** The routes for load balancers and client generators. They require no credential. */
export function systemRoutes(document: () => Promise<Record<string, unknown>>): readonly Route[] {
  const open = { service: SystemService, scope: "public" } as const;
  let file: Reply | undefined;
  return [
    verb("GET /health", {
      ...open,
      cost: 0,
      operationId: "getHealth",
      summary: "Whether the process runs",
      description: "Does not use the database.",
      output: z.object({ status: z.literal("ok") }).meta({ examples: [{ status: "ok" }] }),
      run: () => HEALTHY,
    }),
    verb("GET /ready", {
      ...open,
      // A load balancer asks often, and while the database does not answer.
      cost: 0,
      operationId: "getReadiness",
      summary: "Whether the database is available and has the schema that this program requires",
      description:
        "`migration` is the newest applied migration. `pending` lists the indexes and rollups that `npm run migrate` has not built yet; " +
        "until then, lists and counts use a scan. `refusesWrites` is the reason why writes are refused, or null. `auditKey` says whether " +
        "the checkpoints of audit chains are signed. `jobs` says how late the background jobs are.",
      errors: ["store_unavailable", "schema_mismatch"],
      output: z.object({
        status: z.literal("ready"),
        migration: z.string().nullable(),
        pending: z.array(z.string()),
        refusesWrites: z.string().nullable(),
        auditKey: z.enum(["configured", "missing"]),
        jobs: z.object({
          ageSeconds: z.int().meta({ description: "How late the latest job is, in seconds." }),
          overdue: z.array(z.string()).meta({ description: "The names of the jobs that are later than their threshold." }),
        }).nullable().meta({ description: "The background jobs; null if their schedules could not be read within a second." }),
      }).meta({ examples: [READY] }),
      run: ({ service }) => service.ready(),
    }),
    verb("GET /openapi.json", {
      ...open,
      operationId: "getOpenApi",
      summary: "This API as OpenAPI 3.1",
      description: "The ETag is the digest of the document. The response is compressed if Accept-Encoding allows it.",
      etag: true,
      output: z.object({ openapi: z.string() }).catchall(z.json()).meta({ examples: [{ openapi: "3.1.0" }] }),
      run: async () => file ??= await withDigest(await document()),
    }),
  ];
}

async function withDigest(document: Record<string, unknown>): Promise<Reply> {
  return new Reply(200, document, { version: await sha256Hex(JSON.stringify(document)) });
}
