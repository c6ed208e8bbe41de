import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { LEASE_MS } from "../../../shared/features/jobs/rules.ts";
import type { JobReport } from "../../../shared/features/jobs/service.ts";
import type { TaskReport } from "../../../shared/features/retention/rules.ts";
import type { JsonObject } from "../../../shared/kernel/json.ts";
import type { Mutation, Store } from "../../../shared/kv/store.ts";
import { withClient } from "../../support/client.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const DAY_MS = 24 * 3_600_000;
const SKEW_MS = 5 * 60_000;

/** Each test begins without records that are old. */
beforeEach(async () => {
  context.clock.advance(DAY_MS);
  await cleanup();
});

/** Runs the job to its end. Returns the report of its last call. */
async function cleanup(store: Store = context.store): Promise<JobReport> {
  for (;;) {
    const report = await context.over(store).JobService.run("cleanup");
    if (report.complete) return report;
  }
}

const tasksOf = (report: JobReport) => report.report["tasks"] as unknown as TaskReport[];
const taskOf = (report: JobReport, type: string) => tasksOf(report).find((task) => task.type === type);

let made = 0;
/** Usage records whose time is `ageMs` ago. Their key is not what their own id says. */
async function usage(tenantId: string, ageMs: number, count = 1): Promise<string[]> {
  const keys = Array.from({ length: count }, () => `usage:${tenantId}:m${++made}:2020-01`);
  const updatedAt = context.clock.iso(-ageMs);
  const pairs = keys.map((key) =>
    [key, { id: "plan:Pro", tenantId, metric: "users", period: "2020-01", createdAt: updatedAt, updatedAt }] as const
  );
  for (let at = 0; at < pairs.length; at += 500) await context.store.mset(pairs.slice(at, at + 500));
  return keys;
}

async function events(ageMs: number, count: number, tenantId: string | null = null): Promise<string[]> {
  const keys = Array.from({ length: count }, () => `outbox:evt_${++made}`);
  const event = { type: "x.y", subject: "s", data: {}, createdAt: context.clock.iso(-ageMs), ...(tenantId ? { tenantId } : {}) };
  const pairs = keys.map((key) => [key, { ...event, id: key.slice(7) }] as const);
  for (let at = 0; at < pairs.length; at += 500) await context.store.mset(pairs.slice(at, at + 500), { tenantId, cascades: false });
  return keys;
}

const left = async (keys: readonly string[]) => (await context.store.mget(keys)).filter((entry) => entry !== null).length;
const OLD_USAGE_MS = 731 * DAY_MS;
const OLD_EVENT_MS = 31 * DAY_MS;

/** A store that calls `before` before each commit that deletes a record of the family. */
function intercepted(family: string, before: (nth: number) => Promise<unknown>, store: Store = context.store): Store {
  let nth = 0;
  const deletes = (mutations: readonly Mutation[]) => mutations.some((each) => each.op === "delete" && each.key.startsWith(`${family}:`));
  return new Proxy(store, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown;
      if (name === "commit") {
        return async (...args: Parameters<Store["commit"]>) => {
          if (deletes(args[1])) await before(++nth);
          return await target.commit(...args);
        };
      }
      return typeof member === "function" ? (member as (...args: unknown[]) => unknown).bind(target) : member;
    },
  });
}

const applied = async (type: string) =>
  (await context.auditOf(null)).filter(({ action, data }) => action === "policy.applied" && (data as JsonObject)["type"] === type);

describe("the cleanup", () => {
  test("C16: deletes a record in the millisecond after its retention and 5 minutes of clock skew, and not before", async () => {
    const [events30, usage730] = [30 * DAY_MS + SKEW_MS, 730 * DAY_MS + SKEW_MS];
    const { id } = await context.tenant();
    const kept = [...await events(events30, 1), ...await usage(id, usage730), ...await events(0, 1)];
    const gone = [...await events(events30 + 1, 1), ...await usage(id, usage730 + 1)];
    await cleanup();
    expect([await left(kept), await left(gone)]).toEqual([3, 0]);
    context.clock.advance(1);
    await cleanup();
    expect(await left(kept)).toBe(1);
  });

  test("C15: deletes by key, not by the id in the record", async () => {
    const { id } = await context.tenant();
    const keys = await usage(id, OLD_USAGE_MS, 3);
    await cleanup();
    expect(await left(keys)).toBe(0);
    expect(await context.store.get("plan:Pro")).not.toBeNull();
  });

  test("C15: deletes in bounded commits and reports what it deleted of each entity, as the dry run said", async () => {
    const tenants = await Promise.all(Array.from({ length: 5 }, () => context.tenant()));
    const held = await context.tenant({ metadata: { legalHold: true } });
    for (const { id } of tenants) await usage(id, OLD_USAGE_MS, 130);
    await usage(held.id, OLD_USAGE_MS, 40);
    await events(OLD_EVENT_MS, 250);
    await events(OLD_EVENT_MS, 7, held.id);
    const before = (await context.dump()).length;
    const dry = await context.JobService.run("cleanup", { dryRun: true });
    expect((await context.dump()).length).toBe(before);
    const byHand = await context.RetentionService.run({ dryRun: true });
    expect((await context.dump()).length).toBe(before);
    const expected = [
      { type: "usage-record", scanned: 690, deleted: 650, error: null },
      { type: "outbox-event", scanned: 257, deleted: 250, error: null },
    ];
    const commits: number[] = [];
    const counting = new Proxy(context.store, {
      get: (target, name) =>
        name === "commit"
          ? (...args: Parameters<Store["commit"]>) => (commits.push(args[0].length + args[1].length), target.commit(...args))
          : ((member: unknown) => typeof member === "function" ? (member as () => unknown).bind(target) : member)(
            Reflect.get(target, name),
          ),
    });
    const report = await cleanup(counting);
    for (const one of expected) {
      expect(tasksOf(dry)).toContainEqual(one);
      expect(byHand.tasks).toContainEqual(one);
      expect(tasksOf(report)).toContainEqual(one);
    }
    expect(Math.max(...commits)).toBeLessThanOrEqual(210);
    expect(taskOf(await cleanup(), "usage-record")).toMatchObject({ scanned: 40, deleted: 0 });
    await context.TenantService.update(held.id, { metadata: { legalHold: false } });
    expect(taskOf(await cleanup(), "usage-record")).toMatchObject({ scanned: 40, deleted: 40 });
  });

  test("C15: keeps a record that is renewed between the read and the deletion, and deletes the others", async () => {
    const { id } = await context.tenant();
    const keys = await usage(id, OLD_USAGE_MS, 5);
    const renewed = keys[2] ?? "";
    const store = intercepted("usage", async (nth) => {
      const value = (await context.store.get(renewed))?.value as JsonObject;
      if (nth === 1) await context.store.set(renewed, { ...value, updatedAt: context.clock.iso() });
    });
    await cleanup(store);
    expect(await left(keys)).toBe(1);
    expect(await context.store.get(renewed)).not.toBeNull();
  });

  test("C09: a legal hold that is set between the read and the deletion stops it", async () => {
    const [{ id }, other] = [await context.tenant(), await context.tenant()];
    const [keys, others] = [await usage(id, OLD_USAGE_MS, 300), await usage(other.id, OLD_USAGE_MS, 10)];
    const store = intercepted("usage", async (nth) => {
      if (nth === 2) await context.TenantService.update(id, { metadata: { legalHold: true } });
    });
    await cleanup(store);
    const kept = await left(keys);
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThan(300);
    expect(await left(others)).toBe(0);
    await cleanup();
    expect(await left(keys)).toBe(kept);
    await context.TenantService.update(id, { metadata: {} });
    await context.TenantService.update(id, { metadata: null });
    await cleanup();
    expect(await left(keys)).toBe(0);
  });

  test("K24: it adds up the shards of the rollups, so that the dashboard reads one row a group", async () => {
    await context.tenant();
    const before = await context.DashboardService.get();
    expect(taskOf(await cleanup(), "*rollups")).toMatchObject({ deleted: 0, error: null });
    expect(await context.store.foldRollups()).toBe(0);
    expect((await context.DashboardService.get()).tenants).toEqual(before.tenants);
  });

  test("C09: expired entries lose their bytes, but not those of a tenant under legal hold until its release", async () => {
    const [held, other] = [await context.tenant({ metadata: { legalHold: true } }), await context.tenant()];
    const expiresAt = context.clock.iso(1_000);
    for (const tenantId of [held.id, other.id, null]) await context.store.set(`note:of-${tenantId}`, 1, { expiresAt, tenantId });
    const rows = async () =>
      await withClient(
        context.database.superUrl,
        async (client) =>
          (await client.query<{ key: string }>("select key from kv.entries where key like 'note:of-%'")).rows.map(({ key }) => key),
      );
    context.clock.advance(1_000);
    expect(taskOf(await cleanup(), "*expired")).toMatchObject({ deleted: 2 });
    expect(await rows()).toEqual([`note:of-${held.id}`]);
    await context.TenantService.update(held.id, { metadata: { legalHold: false } });
    await cleanup();
    expect(await rows()).toEqual([]);
  });

  test("C15: a tenant that is deleted in the middle takes its records, and the run goes on", async () => {
    const [{ id }, other] = [await context.tenant(), await context.tenant()];
    const keys = [...await usage(id, OLD_USAGE_MS, 150), ...await usage(other.id, OLD_USAGE_MS, 150)];
    const store = intercepted("usage", async (nth) => {
      if (nth === 1) await context.TenantService.delete(id);
    });
    const report = await cleanup(store);
    expect(await left(keys)).toBe(0);
    expect(taskOf(report, "usage-record")).toMatchObject({ deleted: 150, error: null });
  });

  test("O04: killed in the middle of a commit is continued, and its audit entry counts every record once", async () => {
    const { id } = await context.tenant();
    const keys = await usage(id, OLD_USAGE_MS, 400);
    const before = (await applied("usage-record")).length;
    let isHanging = false;
    const killed = intercepted("usage", (nth) => nth < 3 ? Promise.resolve() : new Promise(() => void (isHanging = true)));
    void context.over(killed).JobService.run("cleanup");
    await expect.poll(() => isHanging, { timeout: 30_000 }).toBe(true);
    const kept = await left(keys);
    expect(kept).toBeGreaterThan(100);
    expect(await codeOf(context.JobService.run("cleanup"))).toBe("job_running");
    context.clock.advance(LEASE_MS);
    await cleanup();
    expect(await left(keys)).toBe(0);
    expect((await applied("usage-record")).slice(before)).toMatchObject([{ resourceId: "usage-record", data: { deleted: 400 } }]);
    expect(await context.store.count("retentionrun")).toBe(0);
  });

  test("C15: two runs at once delete every record once, and count it once", async () => {
    const { id } = await context.tenant();
    const keys = await usage(id, OLD_USAGE_MS, 300);
    const before = (await applied("usage-record")).length;
    const [first, second] = await context.racers(2);
    await Promise.all([first, second].map((store) => context.over(store as Store).RetentionService.run()));
    await cleanup();
    expect(await left(keys)).toBe(0);
    const counts = (await applied("usage-record")).slice(before).map(({ data }) => Number((data as JsonObject)["deleted"]));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(300);
  });

  test("C15: takes turns between entities: 5,000 records of one do not delay another's", async () => {
    await events(OLD_EVENT_MS, 5_000);
    const { id } = await context.tenant();
    const keys = await usage(id, OLD_USAGE_MS, 3);
    await context.JobService.run("cleanup", { budget: { items: 800, ms: 60_000 } });
    expect(await left(keys)).toBe(0);
  });

  test("C15: an error ends the task of its entity, and the others go on", async () => {
    const keys = await events(OLD_EVENT_MS, 3);
    const { id } = await context.tenant();
    await usage(id, OLD_USAGE_MS, 3);
    const report = await cleanup(intercepted("usage", () => Promise.reject(new TypeError("broken"))));
    expect(taskOf(report, "usage-record")).toMatchObject({ deleted: 0, error: "internal" });
    expect(await left(keys)).toBe(0);
    expect(taskOf(await cleanup(), "usage-record")).toMatchObject({ deleted: 3, error: null });
  });
});

describe("a policy", () => {
  test("C14: applies from the next run on, has its result, and leaves one audit entry if something was deleted", async () => {
    const { RetentionService } = context;
    const keys = await events(8 * DAY_MS, 3);
    await RetentionService.upsert("week", { type: "outbox-event", retentionDays: 7, enabled: true, legalBasis: "Not needed for longer." });
    const before = (await applied("outbox-event")).length;
    await cleanup();
    expect(await left(keys)).toBe(0);
    const now = context.clock.iso();
    expect(await RetentionService.get("week")).toMatchObject({ lastRunAt: now, nextRunAt: context.clock.iso(3_600_000) });
    expect((await RetentionService.get("week"))?.lastDeleted).toBeGreaterThanOrEqual(3);
    await cleanup();
    expect(await RetentionService.get("week")).toMatchObject({ lastRunAt: now, lastDeleted: 0 });
    expect((await applied("outbox-event")).slice(before)).toMatchObject([{ resourceId: "week", data: { retentionDays: 7 } }]);
    const disabled = await events(8 * DAY_MS, 1);
    await RetentionService.upsert("week", { type: "outbox-event", retentionDays: 7, enabled: false });
    await cleanup();
    expect(await left(disabled)).toBe(1);
  });

  test("C14: is refused for an entity without retention, and for a time that is not a number of days", async () => {
    const { RetentionService } = context;
    for (
      const [type, retentionDays] of [["plan", 30], ["nothing", 30], ["usage-record", 0], ["usage-record", 1.5], [
        "usage-record",
        1e9,
      ]] as const
    ) {
      expect(await codeOf(RetentionService.upsert("bad", { type, retentionDays, enabled: true })), `${type} ${retentionDays}`).toBe(
        "validation_failed",
      );
    }
    expect(await RetentionService.get("bad")).toBeNull();
  });

  test("C15: a run by hand says what it deleted, is audited, and with an idempotency key runs once", async () => {
    const keys = await events(OLD_EVENT_MS, 3);
    const idempotency = { operation: "POST /v1/policies/run", key: "once", request: {} };
    const first = await context.as({ idempotency }).RetentionService.run();
    expect(first).toMatchObject({ dryRun: false, complete: true });
    expect(first.tasks).toContainEqual({ type: "outbox-event", scanned: 3, deleted: 3, error: null });
    expect(await left(keys)).toBe(0);
    const again = await events(OLD_EVENT_MS, 3);
    expect(await context.as({ idempotency }).RetentionService.run()).toEqual(first);
    expect(await left(again)).toBe(3);
    expect((await context.auditOf(null)).filter(({ action }) => action === "retention.run").at(-1)).toMatchObject({ data: { deleted: 3 } });
  });
});
