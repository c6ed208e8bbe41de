import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadJobs } from "../../../shared/features/index.ts";
import { type JobsProcess, startJobs } from "../../support/jobs-function.ts";
import { seededRandom } from "../../support/random.ts";
import { openTestContext, type TestContext } from "../../support/test-context.ts";
import type { Services } from "../../../shared/container.ts";
import { apiKeys } from "./killed-api-keys.ts";
import { auditExports } from "./killed-audit-exports.ts";
import { auditSinks } from "./killed-audit-sinks.ts";
import { cleanup } from "./killed-cleanup.ts";
import { closings } from "./killed-closings.ts";
import { compliance } from "./killed-compliance.ts";
import { emails } from "./killed-emails.ts";
import { entitlements } from "./killed-entitlements.ts";
import { integrations } from "./killed-integrations.ts";
import { planMigrations } from "./killed-migrations.ts";
import { reservations } from "./killed-reservations.ts";
import { rootKeys } from "./killed-root-keys.ts";
import { subscriptions } from "./killed-subscriptions.ts";
import { usage } from "./killed-usage.ts";
import { webhookSecrets } from "./killed-webhook-secrets.ts";
import { webhooks } from "./killed-webhooks.ts";

/** What a job must have done in the end, however often it was killed. */
export interface Killed {
  /** Variables of the function's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Called once when the work of every job is made. */
  readonly begin?: () => Promise<void>;
  readonly check: () => Promise<void>;
}

/** The jobs of the program: each makes work of its own and returns its invariants. */
const TABLE: Readonly<Record<string, (context: TestContext & Services) => Promise<Killed>>> = {
  "api-keys": apiKeys,
  "audit-exports": auditExports,
  "audit-sinks": auditSinks,
  cleanup,
  closings,
  compliance,
  emails,
  entitlements,
  integrations,
  reservations,
  "root-keys": rootKeys,
  subscriptions,
  "plan-migrations": planMigrations,
  usage,
  webhooks,
  "webhook-secrets": webhookSecrets,
};

const KILLS = Number(process.env["KILLS"] ?? 24);
/** The longest time until a process is killed. */
const LONGEST_MS = 160;

let context: Awaited<ReturnType<typeof openTestContext>>;
let observer: pg.Client;
beforeAll(async () => {
  context = await openTestContext();
  context.clock.set(new Date().toISOString());
  observer = new pg.Client(context.database.superUrl);
  await observer.connect();
});
afterAll(async () => {
  await observer.end();
  await context.close();
});

test("O04: every job of the program is in the table of killed jobs", async () => {
  expect((await loadJobs()).map(({ name }) => name).sort()).toEqual(Object.keys(TABLE).sort());
});

test(`O04: the function jobs, killed ${KILLS} times at random moments of its jobs, loses nothing and does nothing twice`, async () => {
  const { below } = seededRandom("killed jobs");
  const rows = await Promise.all(Object.values(TABLE).map((row) => row(context)));
  for (const { begin } of rows) await begin?.();
  const start = () => startJobs(context.database.appUrl, Object.assign({}, ...rows.map(({ env }) => env)) as Record<string, string>);
  // The next process starts while one runs.
  let next = start();
  const stoppedAt = new Set<number>();
  for (let kill = 0; kill < KILLS; kill++) {
    const running = await next;
    next = start();
    await endLeases();
    const before = await commits();
    let answered = false;
    const answer = running.tick().finally(() => answered = true);
    // Half of them from the call on, and half from its first commit on, however slow the machine is.
    if (below(2) === 0) { while (!answered && await commits() === before) await sleep(1); }
    await sleep(below(LONGEST_MS));
    await running.kill();
    if (await answer === null) stoppedAt.add(await commits());
  }
  const last = await next;
  await endLeases();
  await finish(last);
  await last.kill();
  console.info(`killed after ${stoppedAt.size} different numbers of commits`);
  expect(stoppedAt.size).toBeGreaterThan(KILLS / 3);
  context.clock.set(new Date().toISOString());
  for (const { check } of rows) await check();
  for (const { value } of await context.dump("schedule")) expect(value).toMatchObject({ failures: 0, processed: 0 });
  expect((await context.JobService.list()).map(({ running }) => running)).toEqual(rows.map(() => false));
  expect((await context.dump("schedule")).filter(({ value }) => "leaseId" in (value as object))).toEqual([]);
  expect(await context.AuditService.verify()).toMatchObject({ ok: true });
  expect(last.output()).not.toMatch(/job_failed|cleanup_failed/);
}, 60_000 + KILLS * 5_000);

/** Moves the end of every lease into the past, as if the time of a lease had gone by since the kill. */
async function endLeases(): Promise<void> {
  await observer.query(`update kv.entries set value = jsonb_set(value, '{dueAt}', to_jsonb('2026-01-01T00:00:00.000Z'::text))
    where key like 'schedule:%' and value ? 'leaseId' or key like 'email:%' and value->>'status' = 'pending'`);
}

/** Grows with every commit. */
async function commits(): Promise<number> {
  return Number((await observer.query<{ last_value: string }>("select last_value from kv.versions")).rows[0]?.last_value);
}

/** Calls the function until nothing is due. */
async function finish(process: JobsProcess): Promise<void> {
  for (;;) {
    const reports = await process.tick();
    if (reports === null) throw new Error(`the function ended:\n${process.output()}`);
    expect(reports.flatMap(({ errors }) => errors)).toEqual([]);
    if (reports.every(({ complete }) => complete)) return;
  }
}
