import { type ContainerOptions, createBackend, loadServices, type Services } from "../../shared/container.ts";
import type { TaskReport } from "../../shared/features/retention/rules.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { JsonObject } from "../../shared/kernel/json.ts";
import { withClient } from "./client.ts";
import type { openTestContext } from "./test-context.ts";

type Context = Awaited<ReturnType<typeof openTestContext>>;
export const DAY_MS = 24 * 3_600_000;

/** The services of a jobs function with these settings. */
export async function program(context: Context, options: Partial<ContainerOptions> = {}): Promise<Services> {
  const servicesOf = await loadServices();
  const backend = createBackend({ store: context.store, clock: context.clock, logger: silentLogger, ...options });
  return servicesOf(backend.bind(systemContext(backend.clock, "req_jobs", "jobs")));
}

/** Runs the job to its end. Returns the report of each task. */
export async function cleanup(services: Services): Promise<TaskReport[]> {
  for (;;) {
    const report = await services.JobService.run("cleanup");
    if (report.complete) return report.report["tasks"] as unknown as TaskReport[];
    if (report.errors.length > 0) throw new Error(JSON.stringify(report.errors));
  }
}

export const taskOf = (tasks: readonly TaskReport[], type: string) => tasks.find((task) => task.type === type);

export async function log(context: Context, tenantId: string | null, count: number): Promise<void> {
  const of = tenantId === null ? {} : { tenantId };
  // Together, so that they share commits.
  for (let at = 0; at < count; at += 100) {
    const ids = Array.from({ length: Math.min(100, count - at) }, (_, i) => `r${at + i}`);
    await Promise.all(ids.map((id) => context.AuditService.log("room.opened", "room", id, of)));
  }
}

let made = 0;
/** Usage records whose time is `ageMs` ago. */
export async function usage(context: Context, tenantId: string, ageMs: number, count = 1): Promise<string[]> {
  const updatedAt = context.clock.iso(-ageMs);
  const keys = Array.from({ length: count }, () => `usage:${tenantId}:m${++made}:2020-01`);
  await context.store.mset(
    keys.map((key) => [key, { id: key, tenantId, metric: "users", period: "2020-01", createdAt: updatedAt, updatedAt }] as const),
  );
  return keys;
}

export async function events(context: Context, ageMs: number, count: number, tenantId: string | null = null): Promise<string[]> {
  const keys = Array.from({ length: count }, () => `outbox:evt_${++made}`);
  const event = { type: "x.y", subject: "s", data: {}, createdAt: context.clock.iso(-ageMs), ...(tenantId ? { tenantId } : {}) };
  await context.store.mset(keys.map((key) => [key, { ...event, id: key.slice(7) }] as const), { tenantId, cascades: false });
  return keys;
}

export const left = async (context: Context, keys: readonly string[]) =>
  (await context.store.mget(keys)).filter((entry) => entry !== null).length;
export const seqs = async (context: Context, id: string | null) => (await context.auditOf(id)).map(({ seq }) => Number(seq));

/** SQL as a superuser without triggers. No guard can prevent such changes. */
export async function tamper(context: Context, sql: string, values: unknown[]): Promise<void> {
  const changed = await withClient(context.database.superUrl, async (client) => {
    await client.query("set session_replication_role = replica");
    return (await client.query(sql, values)).rowCount;
  });
  if (!changed) throw new Error("the statement changed nothing");
}

/** Deletes the end of a chain and rewrites its head, so that entries and head agree. */
export async function cutTail(context: Context, id: string, seq: number): Promise<void> {
  await tamper(context, "delete from kv.entries where owner = $1 and key like 'audit:%' and (value->>'seq')::int > $2", [id, seq]);
  const last = (await context.auditOf(id)).at(-1) as JsonObject;
  await tamper(context, "update kv.chains set seq = $2, hash = $3 where scope = $1", [id, seq, last["hash"]]);
}
