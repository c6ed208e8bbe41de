import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { jobs } from "../../../shared/features/usage/jobs.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { openTestContext } from "../../support/test-context.ts";

type Context = Awaited<ReturnType<typeof openTestContext>>;
let context: Context;
const opened: Context[] = [];
beforeEach(async () => void opened.push(context = await openTestContext()));
afterAll(() => Promise.all(opened.map((each) => each.close())));

const marks = async () => (await context.dump("usagechange")).map(({ key }) => key);
const percentOf = async (id: string) => (await context.TenantService.get(id))?.usagePercent;
const stateOf = async (id: string) =>
  (await context.AlertService.list(id, {}, "threshold")).data.map(({ period, threshold, triggered, resolution = "" }) =>
    `${period} ${threshold} ${triggered}${resolution && ` ${resolution}`}`
  );
/** Runs the job to the end of its run, as one process after the other would. */
async function run(on: Pick<Context, "JobService"> = context, budget?: { readonly items: number; readonly ms: number }) {
  for (;;) {
    const report = await on.JobService.run("usage", budget ? { budget } : {});
    expect(report.errors).toEqual([]);
    if (report.complete) return report;
  }
}

describe("the mark of a change", () => {
  it("U15: is written with the first count of each 10 seconds, by each process, and with it alone", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    const versionOf = async () => (await context.store.get(`usagechange:${id}:2026-03`))?.version;
    expect(await versionOf()).toBeUndefined();
    const first = await context.UsageService.increment(id, "bookings");
    expect(await versionOf()).toBe(first.version);
    context.clock.advance(9_999);
    for (const metric of ["bookings", "api_calls"]) await context.UsageService.increment(id, metric);
    expect(await versionOf()).toBe(first.version);
    context.clock.advance(1);
    const { version } = await context.UsageService.increment(id, "api_calls");
    expect(await versionOf()).toBe(version);
    const other = await context.over(context.another()).UsageService.record(id, "bookings", 7);
    expect(await versionOf()).toBe(other.version);
    context.clock.advance(-60_000);
    const back = await context.UsageService.increment(id, "bookings");
    expect(await versionOf()).toBe(back.version);
    await context.UsageService.consume(id, "bookings", 1, "2026-02");
    await context.UsageService.increment(id, "bookings", 1, undefined, undefined, { idempotencyKey: "mark" });
    expect(await marks()).toEqual([`usagechange:${id}:2026-02`, `usagechange:${id}:2026-03`]);
  });

  it("U15: is deleted only once no count can rely on it, and never over a newer one", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.UsageService.increment(id, "bookings");
    context.clock.advance(429_999);
    await run();
    expect(await marks()).toHaveLength(1);
    context.clock.advance(1);
    let isNew = false;
    const racing = new Proxy(context.store, {
      get: (real, name: keyof Store) => {
        if (name === "commit" && !isNew) {
          return async (...given: Parameters<Store["commit"]>) => {
            if (given[1].some(({ op }) => op === "delete")) {
              isNew = true;
              await context.UsageService.increment(id, "bookings", 500);
            }
            return await real.commit(...given);
          };
        }
        return typeof real[name] === "function" ? real[name].bind(real) : real[name];
      },
    });
    await run(context.over(racing));
    expect(await marks()).toHaveLength(1);
    expect(await percentOf(id)).toBe(50);
    context.clock.advance(430_000);
    await run();
    expect(await marks()).toEqual([]);
  });

  it("U15: of a process whose clock is 5 minutes behind covers the counts of its 10 seconds", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    const behind = context.as({ clock: { now: () => context.clock.now() - 300_000 } }).UsageService;
    await behind.increment(id, "bookings", 100);
    await run();
    context.clock.advance(9_999);
    await behind.increment(id, "bookings", 300);
    await run();
    expect(await percentOf(id)).toBe(40);
  });

  it("U15: of a clock that was far ahead ends in time", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    const now = context.clock.iso();
    context.clock.advance(366 * 86_400_000);
    await context.UsageService.record(id, "bookings", 10, undefined, "2026-03");
    context.clock.set(now);
    await run();
    expect(await percentOf(id)).toBe(1);
    context.clock.advance(430_000);
    await run();
    expect(await marks()).toEqual([]);
  });
});

describe("the job `usage`", () => {
  it("U15: writes percentages within a run, and nothing in a dry run", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.UsageService.increment(id, "bookings", 120);
    await context.UsageService.record(id, "rooms", 30);
    const before = await context.dump();
    expect(await context.JobService.run("usage", { dryRun: true })).toMatchObject({ dryRun: true, report: { marks: 1 } });
    expect(await context.dump()).toEqual(before);
    await run();
    expect(await percentOf(id)).toBe(50);
    const levels = (await context.dump("usagelevel")).map(({ value }) => value);
    expect(levels).toMatchObject([{ metric: "bookings", current: 120, percentage: 12 }, { metric: "rooms", current: 30, percentage: 50 }]);
  });

  it("U15: begins a month: percentages are new, alerts of the old month are resolved, and a full gauge is reported again", async () => {
    const [counted, full, idle] = [
      await context.tenant({ plan: "Basic" }),
      await context.tenant({ plan: "Basic" }),
      await context.tenant(),
    ];
    context.clock.set("2026-03-31T23:59:30.000Z");
    await context.UsageService.increment(counted.id, "bookings", 850);
    await context.UsageService.record(full.id, "rooms", 60);
    await run();
    expect(await stateOf(full.id)).toEqual(["2026-03 80 true", "2026-03 100 true"]);
    context.clock.set("2026-04-01T00:00:30.000Z");
    // Two processes with a small budget each, so that the run stops and goes on many times.
    const other = context.over(context.another());
    for (let i = 0; i < 4; i++) {
      await run(i % 2 === 0 ? context : other, { items: 25, ms: 50_000 });
      context.clock.advance(1_000);
    }
    expect(await percentOf(counted.id)).toBe(0);
    expect(await stateOf(counted.id)).toEqual(["2026-03 80 false period_ended"]);
    expect(await percentOf(full.id)).toBe(100);
    expect((await stateOf(full.id)).toSorted()).toEqual([
      "2026-03 100 false period_ended",
      "2026-03 80 false period_ended",
      "2026-04 100 true",
      "2026-04 80 true",
    ]);
    expect(await percentOf(idle.id)).toBe(0);
    expect((await context.UsageLevelService.totals({ metric: "rooms", from: "2026-03" })).map(({ current }) => current)).toEqual([60, 60]);
  });

  it("U15: reports a threshold that was reached in the last seconds of a month, and not one of an older month", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await run();
    context.clock.set("2026-03-31T23:59:59.000Z");
    await context.UsageService.increment(id, "bookings", 10);
    await context.store.increment(`usage:${id}:bookings:2026-03`, [{ path: ["current"], by: 990 }]);
    context.clock.set("2026-04-01T00:00:20.000Z");
    await context.UsageService.record(id, "bookings", 1_000, undefined, "2026-01");
    await run();
    expect(await stateOf(id)).toEqual(["2026-03 80 false period_ended", "2026-03 100 false period_ended"]);
    const events = (await context.dump("outbox")).map(({ value }) => (value as { readonly type: string }).type);
    expect(events.filter((type) => type.startsWith("usage.alert")).toSorted()).toEqual([
      "usage.alert",
      "usage.alert",
      "usage.alert.resolved",
      "usage.alert.resolved",
    ]);
    expect((await context.UsageLevelService.totals({ metric: "bookings", from: "2026-01" })).map(({ current }) => current))
      .toEqual([1_000, 0, 1_000, 0]);
  });

  it("U15: follows a clock that jumped to the next month and back", async () => {
    const { id } = await context.tenant({ plan: "Basic" });
    await context.UsageService.increment(id, "bookings", 900);
    await run();
    context.clock.set("2026-04-02T00:00:00.000Z");
    for (let i = 0; i < 2; i++) await run();
    expect([await percentOf(id), await stateOf(id)]).toEqual([0, ["2026-03 80 false period_ended"]]);
    context.clock.set("2026-03-01T12:05:00.000Z");
    for (let i = 0; i < 2; i++) await run();
    expect([await percentOf(id), await stateOf(id)]).toEqual([90, ["2026-03 80 true"]]);
    const sent = (await context.dump("outbox")).filter(({ value }) => (value as { readonly type: string }).type === "usage.alert");
    expect(sent).toHaveLength(1);
  });

  it("U15: has the marks that are over as its backlog, and loses no tenant that is deleted under it", async () => {
    const [{ id }, gone] = [await context.tenant({ plan: "Basic" }), await context.tenant()];
    await context.UsageService.increment(id, "bookings", 1);
    await context.UsageService.increment(gone.id, "bookings", 1);
    context.clock.advance(470_000);
    const [job] = jobs;
    const work = context.container.bind({ actor: { type: "system", id: "jobs" }, tenantId: null, requestId: "req", clock: context.clock });
    expect(await job?.backlog?.(work)).toEqual({ count: 2, oldestAt: context.clock.iso(-40_000) });
    await context.TenantService.delete(gone.id);
    // The first run of a month marks every tenant, for the second one.
    expect(await run()).toMatchObject({ remaining: 1 });
    expect(await run()).toMatchObject({ remaining: 0 });
    expect(await percentOf(id)).toBe(0);
  });
});
