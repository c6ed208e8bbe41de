import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Job } from "../../../shared/core/job.ts";
import { LEASE_MS } from "../../../shared/features/jobs/rules.ts";
import { InnkeepError } from "../../../shared/kernel/errors.ts";
import type { Store } from "../../../shared/kv/store.ts";
import { codeOf } from "../../support/store.ts";
import { openTestContext } from "../../support/test-context.ts";
import { counting, ids, processOf } from "./support.ts";

type Context = Awaited<ReturnType<typeof openTestContext>>;
let context: Context;

beforeAll(async () => {
  context = await openTestContext();
});
afterAll(() => context.close());

/** The services of one process that has these jobs. */
const processWith = (jobs: readonly Job[], store: Store = context.store) => processOf(context, jobs, { over: store });
const effects = (name: string) => context.store.count(`counted:${name}`);

describe("a job", () => {
  test("O07: runs when it is due, and then not before its next time", async () => {
    const { jobs } = processWith([counting("due", ids(3))]);
    expect(await jobs.runDue()).toMatchObject([{
      job: "due",
      processed: 3,
      complete: true,
      remaining: 0,
      errors: [],
      report: { seen: 3 },
    }]);
    expect(await jobs.runDue()).toEqual([]);
    expect(await jobs.list()).toMatchObject([{ name: "due", running: false, lastProcessed: 3, lastError: null, backlog: { count: 0 } }]);
    context.clock.advance(3_600_000);
    expect(await jobs.runDue()).toMatchObject([{ job: "due" }]);
  });

  test("O07: missed for three days runs once", async () => {
    const { jobs } = processWith([counting("missed", [])]);
    await jobs.runDue();
    context.clock.advance(3 * 24 * 3_600_000);
    expect(await jobs.runDue()).toHaveLength(1);
    expect(await jobs.runDue()).toEqual([]);
  });

  test("O07: is run by exactly one of 20 schedulers, in each of 15 rounds", async () => {
    const stores = await context.racers(20);
    const runs = new Map<string, number>();
    for (let round = 0; round < 15; round++) {
      const job: Job = {
        ...counting(`raced-${round}`, []),
        step: () => {
          runs.set(job.name, (runs.get(job.name) ?? 0) + 1);
          return Promise.resolve({ processed: 0, cursor: null });
        },
      };
      const reports = await Promise.all(stores.map((store) => processWith([job], store).jobs.runDue()));
      expect(reports.flat(), job.name).toHaveLength(1);
      expect(runs.get(job.name)).toBe(1);
    }
  });

  test("O08: stops when its budget is spent, saves where, and the next call goes on", async () => {
    const { jobs } = processWith([counting("long", ids(450))]);
    const budget = { items: 200, ms: 60_000 };
    expect(await jobs.runDue({ budget })).toMatchObject([{ processed: 200, complete: false, remaining: 250 }]);
    expect(await jobs.runDue({ budget })).toMatchObject([{ processed: 200, complete: false, remaining: 50 }]);
    expect(await jobs.runDue({ budget })).toMatchObject([{ processed: 50, complete: true, remaining: 0 }]);
    expect(await jobs.list()).toMatchObject([{ lastProcessed: 450 }]);
  });

  test("O04: killed in the middle is continued by another process when its lease ends, with one effect for each item", async () => {
    const items = ids(250);
    let calls = 0;
    const killed = processWith([counting("killed", items, () => ++calls > 130 ? new Promise(() => undefined) : Promise.resolve())]);
    void killed.jobs.runDue();
    await expect.poll(() => calls, { timeout: 20_000 }).toBe(131);
    const { jobs } = processWith([counting("killed", items)]);
    expect(await jobs.runDue()).toEqual([]);
    expect(await codeOf(jobs.run("killed"))).toBe("job_running");
    context.clock.advance(LEASE_MS);
    expect(await jobs.runDue()).toMatchObject([{ processed: 150, complete: true }]);
    expect(await effects("killed")).toBe(250);
  });

  test("O04: whose lease was taken over by another process writes nothing more to the schedule", async () => {
    const slow = processWith([counting("slow", ids(250), ({ id }) => {
      if (id === "i99") context.clock.advance(LEASE_MS);
      return id === "i99" ? other.jobs.runDue().then(() => undefined) : Promise.resolve();
    })]);
    const other = processWith([counting("slow", ids(250))]);
    expect(await slow.jobs.runDue()).toMatchObject([{ processed: 100, complete: false }]);
    expect(await other.jobs.list()).toMatchObject([{ running: false, lastProcessed: 250 }]);
    expect(await effects("slow")).toBe(250);
  });

  test("O07: writes nothing in a dry run, and reports what it would do, also while another process runs it", async () => {
    const { jobs } = processWith([counting("dry", ids(120))]);
    const before = await context.store.count("schedule");
    expect(await jobs.run("dry", { dryRun: true })).toMatchObject({ processed: 120, dryRun: true, complete: true, remaining: 120 });
    expect(await effects("dry")).toBe(0);
    expect(await context.store.count("schedule")).toBe(before);
  });

  test("O05: can leave requests in flight: the call waits for them and reports their failure, and the next run begins beside them", async () => {
    let fail: (error: Error) => void = () => {};
    const rest = new Promise<void>((_, reject) => fail = reject);
    const leaving: Job = {
      ...counting("leaving", []),
      step: () => Promise.resolve({ processed: 1, cursor: null, rest }),
    };
    const first = processWith([leaving]).jobs.run("leaving");
    const { jobs } = processWith([counting("leaving", [])]);
    await vi.waitFor(async () => expect(await jobs.list()).toMatchObject([{ running: false, lastProcessed: 1 }]));
    expect(await jobs.run("leaving")).toMatchObject({ complete: true, errors: [] });
    fail(new InnkeepError("store_unavailable", "The database cannot be reached."));
    expect(await first).toMatchObject({ processed: 1, complete: true, errors: [{ item: "*", code: "store_unavailable" }] });
    expect(await jobs.list()).toMatchObject([{ failures: 0 }]);
  });

  test("O07: is run by name whether due or not; another name is not_found", async () => {
    const { jobs } = processWith([counting("named", ids(1))]);
    expect(await jobs.run("named")).toMatchObject({ processed: 1 });
    expect(await jobs.run("named")).toMatchObject({ job: "named" });
    await expect(jobs.run("unknown")).rejects.toMatchObject({
      code: "not_found",
      message: "There is no job of this name. The jobs are: named.",
    });
  });

  test("O05: whose step fails is repeated with backoff, and the other jobs run", async () => {
    let isBroken = true;
    const broken: Job = { ...counting("broken", ids(2)), step: (run) => isBroken ? Promise.reject(new TypeError("x")) : fine.step(run) };
    const fine = counting("broken", ids(2));
    const { jobs } = processWith([broken, counting("beside", ids(2))]);
    expect(await jobs.runDue()).toMatchObject([
      { job: "broken", complete: false, errors: [{ code: "internal", message: "TypeError" }] },
      { job: "beside", processed: 2 },
    ]);
    expect(await jobs.runDue()).toEqual([]);
    expect(await jobs.list()).toMatchObject([{ failures: 1, lastError: { code: "internal" }, running: false }, {}]);
    isBroken = false;
    context.clock.advance(30_000);
    expect(await jobs.runDue()).toMatchObject([{ job: "broken", processed: 2, complete: true }]);
    expect((await jobs.list())[0]).toMatchObject({ failures: 0, lastError: null });
  });
});

describe("an item that fails", () => {
  const failing = (name: string, bad: Set<string>) =>
    counting(
      name,
      ids(5),
      ({ id }) => bad.has(id) ? Promise.reject(new InnkeepError("not_found", `There is no ${id}.`)) : Promise.resolve(),
    );

  test("O05: does not stop the others, is retried with backoff, and is dead after 8 attempts", async () => {
    const { jobs, dead } = processWith([failing("letters", new Set(["i1"]))]);
    expect(await jobs.run("letters")).toMatchObject({
      processed: 4,
      errors: [{ item: "i1", code: "not_found", message: "There is no i1." }],
    });
    expect(await effects("letters")).toBe(4);
    expect(await jobs.run("letters")).toMatchObject({ processed: 4, errors: [] });
    for (let attempt = 2; attempt <= 8; attempt++) {
      context.clock.advance(3_600_000);
      expect((await jobs.run("letters")).errors).toHaveLength(1);
    }
    context.clock.advance(24 * 3_600_000);
    expect((await jobs.run("letters")).errors).toEqual([]);
    const { data } = await dead.list({ status: "dead" });
    expect(data).toMatchObject([{ job: "letters", item: "i1", attempts: 8, error: { code: "not_found" } }]);
  });

  test("O05: is handled again once it is requeued, and its dead letter is deleted when it succeeds", async () => {
    const bad = new Set(["i2"]);
    const { jobs, dead } = processWith([failing("requeued", bad)]);
    for (let attempt = 1; attempt <= 8; attempt++) {
      await jobs.run("requeued");
      context.clock.advance(3_600_000);
    }
    bad.clear();
    expect(await jobs.run("requeued")).toMatchObject({ errors: [] });
    const [letter] = (await dead.list({ status: "dead", job: "requeued" })).data;
    const id = letter?.id ?? "";
    const audited = (await context.auditOf(null)).length;
    expect(await dead.requeue(id)).toMatchObject({ status: "retrying", attempts: 0 });
    expect(await dead.requeue(id)).toMatchObject({ status: "retrying", attempts: 0 });
    expect((await context.auditOf(null)).slice(audited).map(({ action }) => action)).toEqual(["dead-letter.requeued"]);
    expect(await jobs.run("requeued")).toMatchObject({ processed: 5 });
    expect(await effects("requeued")).toBe(5);
    expect(await dead.get(id)).toBeNull();
    expect(await dead.requeue("requeued.none")).toBeNull();
  });

  test("O05: is not handled again once it is dropped, which is audited", async () => {
    const bad = new Set(["i3"]);
    const { jobs, dead } = processWith([failing("dropped", bad)]);
    await jobs.run("dropped");
    const [letter] = (await dead.list({ job: "dropped" })).data;
    expect(await dead.delete(letter?.id ?? "")).toBe(true);
    expect((await context.auditOf(null)).at(-1)).toMatchObject({ action: "dead-letter.dropped", resourceId: letter?.id });
    bad.clear();
    context.clock.advance(24 * 3_600_000);
    expect(await jobs.run("dropped")).toMatchObject({ processed: 4, errors: [] });
    expect(await effects("dropped")).toBe(4);
  });

  test("O05: is not handled again if it is dropped while it is being handled", async () => {
    const { dead } = processWith([]);
    let meanwhile = () => Promise.resolve();
    const { jobs } = processWith([counting("dropped-late", ids(1), () => meanwhile().then(() => Promise.reject(new TypeError("x"))))]);
    await jobs.run("dropped-late");
    const [letter] = (await dead.list({ job: "dropped-late" })).data;
    context.clock.advance(24 * 3_600_000);
    meanwhile = async () => void await dead.delete(letter?.id ?? "");
    await jobs.run("dropped-late");
    expect(await dead.get(letter?.id ?? "")).toMatchObject({ status: "dropped", attempts: 1 });
    context.clock.advance(24 * 3_600_000);
    expect(await jobs.run("dropped-late")).toMatchObject({ processed: 0, errors: [] });
  });

  test("O05: because the database is not available does not count as failed: the run fails, and the item has no dead letter", async () => {
    const away = counting("away", ids(2), () => Promise.reject(new InnkeepError("store_unavailable", "The database is not available.")));
    const { jobs, dead } = processWith([away]);
    expect(await jobs.run("away")).toMatchObject({ processed: 0, complete: false, errors: [{ item: "*", code: "store_unavailable" }] });
    expect((await dead.list({ job: "away" })).data).toEqual([]);
  });
});
