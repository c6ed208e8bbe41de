import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Job } from "../../../shared/core/job.ts";
import { LEASE_MS } from "../../../shared/features/jobs/rules.ts";
import { CALL_BUDGET } from "../../../shared/features/jobs/run.ts";
import { isoTime } from "../../../shared/kernel/clock.ts";
import { errors } from "../../../shared/kernel/errors.ts";
import { jsonLogger } from "../../../shared/kernel/logger.ts";
import { declareTasks, task } from "../../support/task.ts";
import { openTestContext } from "../../support/test-context.ts";
import { counting, ids, processOf } from "./support.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => void (context = await openTestContext()));
afterAll(() => context.close());

const HOUR_MS = 3_600_000;
const effects = (name: string) => context.store.count(`counted:${name}`);

describe("the jobs of one call", () => {
  test("O08: share its budget and take turns, and the next call goes on where each of them stopped", async () => {
    const names = ids(5, "shared-");
    const { jobs } = processOf(context, names.map((name) => counting(name, ids(230))));
    const first = await jobs.runDue();
    expect(first.map(({ job, processed, complete, remaining }) => [job, processed, complete, remaining])).toEqual(
      names.map((name) => [name, 200, false, 30]),
    );
    expect(first.reduce((sum, { processed }) => sum + processed, 0)).toBe(CALL_BUDGET.items);
    expect((await jobs.list()).map(({ running }) => running)).toEqual(names.map(() => false));
    expect((await jobs.runDue()).map(({ processed, complete }) => [processed, complete])).toEqual(names.map(() => [30, true]));
    expect(await Promise.all(names.map(effects))).toEqual(names.map(() => 230));
  });

  test("O08: begin no step after the time of the call, and a job without a turn is the first of the next call", async () => {
    const late: string[] = [];
    const slow = (name: string): Job => ({
      ...counting(name, ids(1)),
      step: () => {
        late.push(name);
        context.clock.advance(CALL_BUDGET.ms);
        return Promise.resolve({ processed: 1, cursor: null });
      },
    });
    const { jobs } = processOf(context, ids(3, "slow-").map(slow));
    for (let call = 0; call < 3; call++) await jobs.runDue();
    expect(late).toEqual(["slow-0", "slow-1", "slow-2"]);
  });

  test("O06: 10,000 items of one job do not delay another job's one item", async () => {
    const handled: string[] = [];
    const noting = (name: string, count: number) => counting(name, ids(count, name), ({ id }) => (handled.push(id), Promise.resolve()));
    const { jobs } = processOf(context, [noting("many", 10_000), noting("one", 1)]);
    const started = performance.now();
    const reports = await jobs.runDue({ budget: { items: 200, ms: 60_000 } });
    expect(handled.indexOf("one0")).toBe(100);
    expect(performance.now() - started).toBeLessThan(2_000);
    expect(reports).toMatchObject([{ job: "many", complete: false }, { job: "one", processed: 1, complete: true }]);
  });
});

describe("a queue", () => {
  test("O06: of 10,000 items of one tenant lets another tenant's one item start within 2 seconds of its own enqueueing", async () => {
    await declareTasks(context.database);
    const [a, b] = [await context.tenant(), await context.tenant()];
    const put = async (tenantId: string, names: readonly string[], dueAt: string) => {
      for (let at = 0; at < names.length; at += 500) {
        const pairs = names.slice(at, at + 500).map((id) => [`task:${id}`, { id, tenantId, dueAt }] as const);
        await context.store.mset(pairs, { tenantId });
      }
    };
    await put(a.id, ids(10_000, "a"), context.clock.iso(-HOUR_MS));
    const started: string[] = [];
    let enqueuedMs = 0;
    let waitedMs = 0;
    const worker: Job = {
      name: "worker",
      summary: "Does the tasks.",
      everySeconds: 1,
      step: async ({ work, limit, each }) => {
        const until = isoTime(work.context.clock.now() + LEASE_MS);
        const claimed = await work.store.claim({ entity: task, due: "dueAt", until, limit, perTenant: 10 });
        const processed = await each(claimed.map(({ key: id, tenantId }) => ({ id, tenantId })), async ({ id }) => {
          started.push(id);
          if (id === "task:b0") waitedMs = performance.now() - enqueuedMs;
          if (started.length === 25) {
            enqueuedMs = performance.now();
            await put(b.id, ["b0"], context.clock.iso());
          }
          await work.store.del(id);
        });
        return { processed, cursor: claimed.length > 0 ? { at: started.length } : null };
      },
    };
    const { jobs } = processOf(context, [worker]);
    while (!started.includes("task:b0")) await jobs.runDue();
    expect(started.indexOf("task:b0")).toBeLessThan(25 + 2 * 10 + 1);
    expect(waitedMs).toBeLessThan(2_000);
    expect(new Set(started).size).toBe(started.length);
  });
});

describe("faults of the clock and of schedulers", () => {
  test("O07: a clock that is set back an hour delays no job by more than its interval, and doubles no effect", async () => {
    const minutely: Job = { ...counting("set-back", ids(150)), everySeconds: 60 };
    const { jobs } = processOf(context, [minutely]);
    const budget = { items: 100, ms: 60_000 };
    await jobs.runDue({ budget });
    context.clock.advance(-HOUR_MS);
    expect(await jobs.runDue({ budget })).toMatchObject([{ processed: 50, complete: true }]);
    expect(await jobs.runDue({ budget })).toEqual([]);
    context.clock.advance(60_000);
    expect(await jobs.runDue({ budget })).toMatchObject([{ job: "set-back" }]);
    context.clock.advance(-HOUR_MS);
    expect(await jobs.runDue()).toMatchObject([{ job: "set-back", errors: [] }]);
    expect(await effects("set-back")).toBe(150);
    context.clock.advance(3 * HOUR_MS);
  });

  test("O07: a run that was killed before the clock was set back is continued", async () => {
    let calls = 0;
    const killed = processOf(context, [
      counting("killed-back", ids(120), () => ++calls > 110 ? new Promise(() => undefined) : Promise.resolve()),
    ]);
    void killed.jobs.runDue();
    await expect.poll(() => calls, { timeout: 20_000 }).toBe(111);
    context.clock.advance(-HOUR_MS);
    const { jobs } = processOf(context, [counting("killed-back", ids(120))]);
    expect(await jobs.runDue()).toMatchObject([{ processed: 20, complete: true }]);
    expect(await effects("killed-back")).toBe(120);
    context.clock.advance(HOUR_MS);
  });

  test("O09: three days without a scheduler are one run per job, one line job_overdue, and overdue until then", async () => {
    const lines: Record<string, unknown>[] = [];
    const logger = jsonLogger((line) => lines.push(JSON.parse(line) as Record<string, unknown>), context.clock.now);
    const { jobs, lateness } = processOf(context, [counting("idle", ids(250))], { logger });
    const budget = { items: 100, ms: 60_000 };
    while ((await jobs.runDue()).some(({ complete }) => !complete));
    context.clock.advance(HOUR_MS + 14 * 60_000);
    expect(await jobs.list()).toMatchObject([{ overdue: false, ageSeconds: 14 * 60, overdueAfterSeconds: 4_500 }]);
    context.clock.advance(3 * 24 * HOUR_MS);
    expect(await lateness()).toEqual({ ageSeconds: 3 * 24 * 3_600 + 14 * 60, overdue: ["idle"] });
    expect(await jobs.list()).toMatchObject([{ overdue: true, nextRunAt: context.clock.iso(-3 * 24 * HOUR_MS - 14 * 60_000) }]);
    let runs = 0;
    for (let call = 0; call < 5; call++) runs += (await jobs.runDue({ budget })).filter(({ complete }) => complete).length;
    expect(runs).toBe(1);
    expect(lines.filter(({ event, message }) => [event, message].includes("job_overdue"))).toMatchObject([
      { job: "idle", ageSeconds: 3 * 24 * 3_600 + 14 * 60, thresholdSeconds: 4_500 },
    ]);
    expect(await lateness()).toEqual({ ageSeconds: 0, overdue: [] });
  });

  test("O09: an item that waits longer than the threshold makes its job overdue although it runs on time", async () => {
    let isBroken = true;
    const stuck = counting("stuck", ids(2), () => isBroken ? Promise.reject(new TypeError("x")) : Promise.resolve());
    const { jobs, lateness } = processOf(context, [{ ...stuck, overdueAfterSeconds: 600 }]);
    context.clock.set("2026-03-01T00:10:00.000Z");
    await jobs.runDue();
    expect(await lateness()).toEqual({ ageSeconds: 600, overdue: ["stuck"] });
    expect(await jobs.list()).toMatchObject([{ overdue: true, backlog: { count: 2, oldestAt: "2026-03-01T00:00:00.000Z" } }]);
    isBroken = false;
    context.clock.advance(HOUR_MS);
    await jobs.runDue();
    expect(await jobs.list()).toMatchObject([{ overdue: false, ageSeconds: 0 }]);
  });

  test("O07: two schedulers at once handle every item of every job once", async () => {
    const handled: string[] = [];
    const names = ids(4, "twice-");
    const stores = await context.racers(2);
    const processes = stores.map((over) => {
      const all = names.map((name) => counting(name, ids(330), ({ id }) => (handled.push(`${name} ${id}`), Promise.resolve())));
      return processOf(context, all, { over }).jobs;
    });
    let isDone = false;
    await Promise.all(processes.map(async (jobs) => {
      while (!isDone) {
        await jobs.runDue({ budget: { items: 200, ms: 60_000 } });
        isDone ||= (await jobs.list()).every(({ lastProcessed }) => lastProcessed === 330);
      }
    }));
    expect(handled).toHaveLength(4 * 330);
    expect(new Set(handled).size).toBe(4 * 330);
  });
});

describe("an item", () => {
  test("T09: whose tenant is deleted in the middle is neither retried nor a dead letter, and the others go on", async () => {
    const [gone, other] = [await context.tenant(), await context.tenant()];
    const job: Job = {
      name: "greet",
      summary: "Renames tenants.",
      everySeconds: 60,
      step: async ({ each, work }) => {
        const processed = await each([gone, other].map(({ id }) => ({ id, tenantId: id })), async ({ id }) => {
          if (id === gone.id) await context.TenantService.delete(id);
          if (id === gone.id) await work.store.set(`usage:${id}:users:2026-03`, { current: 1 });
          else if (!await context.TenantService.update(id, { name: "Renamed" })) throw errors.notFound("tenant", id);
        });
        return { processed, cursor: null };
      },
    };
    const { jobs, dead } = processOf(context, [job]);
    expect(await jobs.run("greet")).toMatchObject({ processed: 1, complete: true, errors: [] });
    expect((await dead.list({ job: "greet" })).data).toEqual([]);
    expect(await context.TenantService.get(other.id)).toMatchObject({ name: "Renamed" });
  });

  test("C09: whose tenant is put under legal hold in the middle is a dead letter until it is released and requeued", async () => {
    const held = await context.tenant();
    let isFirst = true;
    const job: Job = {
      name: "remove",
      summary: "Deletes tenants.",
      everySeconds: 60,
      step: async ({ each }) => ({
        processed: await each([{ id: held.id, tenantId: held.id }], async ({ id }) => {
          if (isFirst) await context.TenantService.update(id, { metadata: { legalHold: true } });
          isFirst = false;
          await context.TenantService.delete(id);
        }),
        cursor: null,
      }),
    };
    const { jobs, dead } = processOf(context, [job]);
    for (let attempt = 0; attempt < 8; attempt++, context.clock.advance(HOUR_MS)) await jobs.run("remove");
    const [letter] = (await dead.list({ job: "remove" })).data;
    expect(letter).toMatchObject({ status: "dead", tenant: held.id, error: { code: "legal_hold" } });
    await context.TenantService.update(held.id, { metadata: { legalHold: false } });
    await dead.requeue(letter?.id ?? "");
    expect(await jobs.run("remove")).toMatchObject({ processed: 1, errors: [] });
    expect(await context.TenantService.get(held.id)).toBeNull();
  });

  test("O05: whose dead letter is requeued by 8 callers at once begins again once, with one audit entry", async () => {
    const { jobs, dead } = processOf(context, [counting("requeued", ids(1), () => Promise.reject(new TypeError("x")))]);
    for (let attempt = 0; attempt < 8; attempt++, context.clock.advance(HOUR_MS)) await jobs.run("requeued");
    const [letter] = (await dead.list({ job: "requeued" })).data;
    const racers = await context.racers(8);
    const again = await Promise.all(racers.map((over) => processOf(context, [], { over }).dead.requeue(letter?.id ?? "")));
    expect(again.map((one) => [one?.status, one?.attempts])).toEqual(again.map(() => ["retrying", 0]));
    const audited = (await context.auditOf(null)).filter(({ action, resourceId }) =>
      action === "dead-letter.requeued" && resourceId === letter?.id
    );
    expect(audited).toHaveLength(1);
    expect((await jobs.run("requeued")).errors).toHaveLength(1);
    expect((await dead.list({ job: "requeued" })).data).toMatchObject([{ status: "retrying", attempts: 1 }]);
  });
});
