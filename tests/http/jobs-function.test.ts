import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createJobs, type Jobs } from "../../functions/jobs/app.ts";
import type { Job } from "../../shared/core/job.ts";
import { createBackend } from "../../shared/container.ts";
import { jsonLogger } from "../../shared/kernel/logger.ts";
import { freshStore } from "../support/store.ts";
import type { OpenStore } from "../support/store.ts";

const SECRET = "scheduler-secret-0123456789";
let opened: OpenStore;
let jobs: Jobs;
let runs = 0;
const logs: Record<string, unknown>[] = [];

const tick: Job = {
  name: "tick",
  summary: "Counts its runs.",
  everySeconds: 60,
  step: ({ dryRun }) => {
    if (!dryRun) runs++;
    return Promise.resolve({ processed: 1, cursor: null });
  },
};

beforeAll(async () => {
  opened = await freshStore({ driver: "postgres" });
  const logger = jsonLogger((line) => logs.push(JSON.parse(line) as Record<string, unknown>), opened.clock.now);
  const backend = createBackend({ store: opened.store, clock: opened.clock, logger, jobs: () => Promise.resolve([tick]) });
  jobs = createJobs({ logger, secret: SECRET }, () => Promise.resolve(backend));
});
afterAll(() => opened.close());

async function send(path: string, { method = "POST", secret = SECRET }: { method?: string; secret?: string | null } = {}) {
  const headers = secret === null ? undefined : { authorization: `Bearer ${secret}` };
  const response = await jobs.fetch(new Request(`http://localhost${path}`, { method, ...(headers ? { headers } : {}) }));
  const body = await response.json() as Record<string, unknown> & { data?: Record<string, unknown>[] };
  return { status: response.status, headers: response.headers, body };
}

describe("the jobs function", () => {
  test.each([
    ["no secret", null],
    ["another secret", "scheduler-secret-0123456780"],
    ["a prefix of the secret", SECRET.slice(0, -1)],
    ["a longer secret", `${SECRET}0`],
    ["the secret in another case", SECRET.toUpperCase()],
  ])("O10: refuses %s with 401, on every path, and runs nothing", async (_, secret) => {
    const before = runs;
    for (const path of ["/jobs", "/jobs/tick", "/jobs/unknown", "/jobs/tick?dryRun=true"]) {
      const answer = await send(path, { secret });
      expect([answer.status, answer.body["code"]], path).toEqual([401, "unauthenticated"]);
      expect(answer.headers.get("www-authenticate")).toContain("Bearer");
    }
    expect(runs).toBe(before);
    expect(JSON.stringify(logs)).not.toContain("scheduler-secret");
  });

  test("O10: POST /jobs runs what is due and returns one report for each job, also behind the gateway's prefix", async () => {
    const first = await send("/jobs");
    expect(first.status).toBe(200);
    expect(first.body.data).toMatchObject([{ job: "tick", processed: 1, complete: true, errors: [], started: opened.clock.iso() }]);
    expect((await send("/functions/v1/jobs")).body.data).toEqual([]);
    opened.clock.advance(60_000);
    expect((await send("/functions/v1/jobs")).body.data).toHaveLength(1);
    expect(runs).toBe(2);
  });

  test("O10: POST /jobs/:name runs one job now, and with dryRun=true writes nothing", async () => {
    const before = runs;
    expect((await send("/jobs/tick")).body).toMatchObject({ job: "tick", processed: 1, dryRun: false });
    expect((await send("/functions/v1/jobs/tick?dryRun=true")).body).toMatchObject({ job: "tick", processed: 1, dryRun: true });
    expect(runs).toBe(before + 1);
  });

  test.each([
    ["POST", "/jobs/unknown", 404, "not_found"],
    ["POST", "/jobs/tick?dryRun=maybe", 400, "invalid_parameter"],
    ["POST", "/jobs?force=true", 400, "invalid_parameter"],
    ["POST", "/jobs?dryRun=false&dryRun=true", 400, "invalid_parameter"],
    ["POST", "/jobs?dryRun=", 400, "invalid_parameter"],
    ["GET", "/jobs/tick", 405, "method_not_allowed"],
    ["POST", "/v1/tenants", 404, "not_found"],
  ])("H02: %s %s is %i %s", async (method, path, status, code) => {
    const answer = await send(path, { method });
    expect([answer.status, answer.body["code"]]).toEqual([status, code]);
  });

  test("O11: a call leaves one log line with the scheduler as its caller", async () => {
    const before = logs.length;
    await send("/jobs/tick");
    expect(logs.slice(before).filter(({ message }) => message === "request" || message === undefined)).toMatchObject([
      { route: "/jobs/:name", caller: "scheduler", status: 200 },
    ]);
  });
});
