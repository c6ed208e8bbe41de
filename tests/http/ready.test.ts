import { afterAll, beforeAll, expect, test } from "vitest";
import { createApi } from "../../functions/api/app.ts";
import { createTokenVerifier } from "../../shared/adapters/token-verifier.ts";
import { SCHEMA_VERSION } from "../../shared/adapters/migrator.ts";
import { type Backend, createBackend } from "../../shared/container.ts";
import type { Job } from "../../shared/core/job.ts";
import { JobService } from "../../shared/features/jobs/service.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import { withClient } from "../support/client.ts";
import { freshStore, type OpenStore } from "../support/store.ts";
import { AUDIENCE, ISSUER, makeSigner } from "./support/tokens.ts";

let opened: OpenStore;
beforeAll(async () => void (opened = await freshStore({ driver: "postgres" })));
afterAll(() => opened.close());

const idle: Job = {
  name: "idle",
  summary: "Does nothing.",
  everySeconds: 60,
  overdueAfterSeconds: 600,
  step: () => Promise.resolve({ processed: 0, cursor: null }),
};

function backendOver(store: Store, auditKey: string | null = null): Backend {
  return createBackend({ store, clock: opened.clock, logger: silentLogger, auditKey, jobs: () => Promise.resolve([idle]) });
}

async function ready(backend: Backend): Promise<{ readonly status: number; readonly body: unknown }> {
  const { jwks } = await makeSigner(opened.clock);
  const verifier = createTokenVerifier({ issuer: ISSUER, audience: AUDIENCE, jwks, clock: opened.clock, fetch });
  const app = createApi({ logger: silentLogger, corsOrigins: [] }, () => ({ backend, verifier }));
  const response = await app.fetch(new Request("http://localhost/ready"));
  return { status: response.status, body: await response.json() };
}

test("O03: /ready says which migration is applied, whether the audit key is set, and how late the jobs are", async () => {
  const backend = backendOver(opened.store);
  const rest = { status: "ready", migration: SCHEMA_VERSION, pending: [], refusesWrites: null };
  expect(await ready(backend)).toEqual({ status: 200, body: { ...rest, auditKey: "missing", jobs: { ageSeconds: 0, overdue: [] } } });
  await new JobService(backend.bind(systemContext(opened.clock, "req_ready", "jobs"))).runDue();
  opened.clock.advance(60_000 + 599_000);
  expect(await ready(backendOver(opened.store, "k".repeat(32)))).toMatchObject({
    body: { auditKey: "configured", jobs: { ageSeconds: 599, overdue: [] } },
  });
  opened.clock.advance(1_000);
  expect(await ready(backend)).toMatchObject({ status: 200, body: { jobs: { ageSeconds: 600, overdue: ["idle"] } } });
});

test("O03: /ready answers 200 within 2 seconds while the jobs' schedules cannot be read", async () => {
  await withClient(opened.database.superUrl, async (client) => {
    await client.query("begin");
    await client.query("lock table kv.entries in access exclusive mode");
    const started = performance.now();
    expect(await ready(backendOver(opened.store))).toMatchObject({ status: 200, body: { status: "ready", jobs: null } });
    expect(performance.now() - started).toBeLessThan(2_000);
    await client.query("rollback");
  });
  expect(await ready(backendOver(opened.store))).toMatchObject({ body: { jobs: { overdue: ["idle"] } } });
});
